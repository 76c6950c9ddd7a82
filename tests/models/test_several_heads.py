"""Test several heads on one encoder: each task has its own, the main classifier stays what it was."""

from pathlib import Path

import pytest
import torch

from baton import params
from baton.models import lora, model_folder, several_heads, text_model
from baton.models.several_heads import OneTask, SeveralHeads
from baton.train import strategy
from tests import tiny
from tests.tiny_tasks import HEAD

INPUTS = torch.tensor([[2, 7, 9, 3], [2, 8, 3, 0]]), torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])
HEADS: dict[str, tuple[params.Head, int]] = {
    "length": (HEAD, 2),
    "letters": (params.MlpHead(kind="mlp", pooling="mean", dropout=0.0, width=5), 1),
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_base(tmp_path_factory.mktemp("several") / "base")


def new(base: Path) -> text_model.TextClassifier:
    torch.manual_seed(0)
    return text_model.create(base, HEAD, 3, tiny.training(), "matmul")


def made(base: Path) -> SeveralHeads:
    return several_heads.with_heads(new(base), HEADS).eval()


def test_the_main_task_answers_as_without_others(base: Path) -> None:
    model, alone = made(base), new(base).eval()
    with torch.no_grad():
        expected = alone(*INPUTS)
        assert torch.equal(model(*INPUTS), expected)
        assert torch.equal(model(*INPUTS, "main"), expected)
        assert torch.equal(model.classifier(*INPUTS), expected)
        for name, width in (("length", 2), ("letters", 1)):
            found = model(*INPUTS, name)
            assert found.shape == (2, width)
            assert torch.equal(found, model.of(name)(alone.read(*INPUTS)))
            assert torch.equal(OneTask(model, name)(*INPUTS), found)


def test_a_step_of_one_task_leaves_the_heads_of_the_others_without_gradient(base: Path) -> None:
    model = made(base)
    model(*INPUTS, "length").sum().backward()
    reached = {name for name, own in model.named_parameters() if own.grad is not None}
    heads = {name for name, _ in model.named_parameters() if not name.startswith("backbone.")}
    assert reached & heads == {"others.length.output.weight", "others.length.output.bias"}
    assert any(name.startswith("backbone.") for name in reached)


def test_a_shared_head_would_get_the_gradients_of_both_tasks(base: Path) -> None:
    """Negative control of the test above."""
    model = made(base)
    model.others["length"] = model.head
    model(*INPUTS, "length").sum().backward()
    assert model.head.output.weight.grad is not None


def test_all_heads_are_in_the_last_layer_group(base: Path) -> None:
    model = made(base)
    groups = strategy.layers(model)
    assert list(groups) == ["layer.0", "layer.1", "layer.2", "head"]
    assert groups["head"] == [
        name for name, _ in model.named_parameters() if not name.startswith("backbone.")
    ]
    assert sorted(name for own in groups.values() for name in own) == sorted(dict(model.named_parameters()))
    assert list(groups)[:-1] == list(strategy.layers(new(base)))[:-1]


def test_weights_are_those_of_the_classifier(base: Path, tmp_path: Path) -> None:
    """What training changes is what is saved; the other heads are not."""
    model = made(base)
    with torch.no_grad():
        for own in model.parameters():
            own.add_(0.1)
    classifier, folder = model.classifier, tmp_path / "model"
    assert list(classifier.state_dict()) == list(new(base).state_dict())
    info = model_folder.ModelInfo(tiny.TASK, HEAD, tiny.TEXT_INPUT)
    model_folder.save(classifier, info, base, folder)
    loaded, _ = model_folder.load(folder, "matmul")
    with torch.no_grad():
        assert torch.equal(loaded(*INPUTS), model(*INPUTS))
    assert classifier.training is False and model.train().classifier.training is True


def test_adapters_are_merged_into_the_shared_encoder(base: Path) -> None:
    model = made(base)
    asked = params.LoraStrategy(kind="lora", rank=2, alpha=4.0, dropout=0.0)
    adapted = lora.adapted(model, asked)
    free = {name for name, own in adapted.named_parameters() if own.requires_grad}
    assert {name for name in free if not name.startswith("backbone.")} == {
        name for name, _ in made(base).named_parameters() if not name.startswith("backbone.")
    }
    with torch.no_grad():
        for name, own in adapted.named_parameters():
            if "lora_B" in name:
                own.add_(0.3)
    answers = {name: adapted(*INPUTS, name) for name in ("main", "length")}
    merged = lora.merged(adapted).eval()
    assert list(merged.state_dict()) == list(made(base).state_dict())
    for name, expected in answers.items():
        torch.testing.assert_close(merged(*INPUTS, name), expected, atol=1e-5, rtol=0)
    assert not torch.equal(merged(*INPUTS), made(base)(*INPUTS))


def test_the_heads_of_several_tasks_are_drawn_after_the_main_one(base: Path) -> None:
    model = made(base)
    assert torch.equal(model.head.output.weight, new(base).head.output.weight)
    weights = [own.output.weight for own in model.others.values()]
    assert all(bool(own.abs().sum() > 0) for own in weights)
