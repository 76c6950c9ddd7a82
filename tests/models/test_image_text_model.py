"""Classifiers of images with texts: two encoders, tuned or frozen, and one head; their students."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from baton import params, storage
from baton.contracts.input_spec import ImageTextInput
from baton.distill import student
from baton.errors import ModelError
from baton.models import model_folder
from baton.train import optimizer
from tests import tiny

HEAD = params.LinearHead(kind="linear", pooling="mean", dropout=0.1)
MLP = params.MlpHead(kind="mlp", pooling="mean", dropout=0.1, width=7)
READS = ImageTextInput(tiny.image_input(16), tiny.TEXT_INPUT)
INFO = model_folder.ModelInfo(tiny.task("a", "b", "c"), HEAD, READS)
PIXELS = torch.randint(0, 256, (2, 1, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
IDS = torch.tensor([[2, 9, 8, 7, 3], [2, 9, 3, 0, 0]])
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
INPUTS = (PIXELS, IDS, MASK)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    tiny.write_image_base(folder / "image", size=16, depth=3, width=48)
    tiny.write_base(folder / "text")
    return folder


def make(base: Path, head: params.Head = HEAD, **settings: Any) -> Any:
    torch.manual_seed(1)
    return model_folder.create(base, head, 3, tiny.training(**settings), "matmul", READS)


@pytest.mark.parametrize("head", [HEAD, MLP], ids=["linear", "mlp"])
def test_a_saved_model_loads_to_the_same_bits(base: Path, tmp_path: Path, head: params.Head) -> None:
    model = make(base, head).eval()
    info = dataclasses.replace(INFO, head=head, fitted={"temperature": 1.25})
    model_folder.save(model, info, base, tmp_path / "model")
    loaded, loaded_info = model_folder.load(tmp_path / "model", "matmul")
    assert loaded_info == info
    assert torch.equal(loaded(*INPUTS), model(*INPUTS))
    assert {name: tensor.shape for name, tensor in loaded.state_dict().items()} == {
        name: tensor.shape for name, tensor in model.state_dict().items()
    }
    assert (tmp_path / "model/text/tokenizer.json").is_file()
    assert not (tmp_path / "model/config.json").exists()
    (tmp_path / "model/image/config.json").unlink()
    with pytest.raises(ModelError, match=re.escape("no image/config.json")):
        model_folder.load(tmp_path / "model", "matmul")


def test_the_head_reads_the_normalised_features_of_both(base: Path) -> None:
    """Each encoder's features are those of a classifier of it alone."""
    model = make(base).eval()
    settings = tiny.training()
    image = model_folder.create(base / "image", HEAD, 3, settings, "matmul", READS.image).eval()
    text = model_folder.create(base / "text", HEAD, 3, settings, "matmul", READS.text).eval()
    own = [image.features(PIXELS), text.features(IDS, MASK)]
    normed = [
        (each - each.mean(1, keepdim=True)) / (each.var(1, keepdim=True, correction=0) + 1e-5).sqrt()
        for each in own
    ]
    expected = functional.linear(torch.cat(normed, 1), model.head.output.weight, model.head.output.bias)
    assert torch.allclose(model(*INPUTS), expected, atol=1e-5)
    assert model.head.output.in_features == 48 + 32


def test_a_document_of_several_windows_belongs_to_one_image(base: Path) -> None:
    model = make(base).eval()
    owners = torch.tensor([[True, True]])
    assert model(PIXELS[:1], IDS, MASK, owners).shape == (1, 3)


@pytest.mark.parametrize("frozen", ["image", "text"])
def test_a_frozen_encoder_stays_as_it_is(base: Path, frozen: str) -> None:
    """Neither dropout nor an update, no optimizer state, and none of its activations is kept."""
    model = make(base, dropout=0.3, frozen=(frozen,)).train()
    encoder = getattr(model.backbone, frozen)
    assert not any(module.training for module in encoder.modules())
    assert model.head.training and getattr(model.backbone, model.backbone.tuned[0]).training
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    kept = optimizer.make(model, tiny.training())
    held = {id(parameter) for group in kept.param_groups for parameter in group["params"]}
    assert not held & {id(parameter) for parameter in encoder.parameters()}
    functional.cross_entropy(model(*INPUTS), torch.tensor([0, 1])).backward()
    kept.step()
    assert all(torch.equal(tensor, before[name]) for name, tensor in encoder.state_dict().items())
    arguments = {"image": INPUTS[:1], "text": INPUTS[1:]}[frozen]
    assert not encoder.features(*arguments).requires_grad
    assert saved_values(model, encoder.features, arguments) == 0
    tuned = getattr(model.backbone, model.backbone.tuned[0])
    others = {"image": INPUTS[1:], "text": INPUTS[:1]}[frozen]
    assert saved_values(model, tuned.features, others) > 0


def saved_values(model: Any, call: Any, arguments: Any) -> int:
    """Return how many values autograd keeps for the backward pass, besides weights."""
    weights, total = {parameter.data_ptr() for parameter in model.parameters()}, 0

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal total
        total += tensor.numel() if tensor.data_ptr() not in weights else 0
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        call(*arguments)
    return total


def test_layers_have_the_rates_that_they_have_in_models_of_one_encoder(base: Path) -> None:
    settings = tiny.training(layer_decay=0.5)
    both = rates(make(base), settings)
    for name, reads in (("image", READS.image), ("text", READS.text)):
        alone = model_folder.create(base / name, HEAD, 3, settings, "matmul", reads)
        for key, rate in rates(alone, settings).items():
            if key.startswith("backbone."):
                assert both[f"backbone.{name}.{key}"] == rate, key
    assert both["head.output.weight"] == 1.0
    assert both["backbone.norms.image.weight"] == both["backbone.norms.text.bias"] == 0.5


def rates(model: Any, settings: params.Training) -> dict[str, float]:
    made = optimizer.make(model, settings)
    of = {id(one): group["scale"] for group in made.param_groups for one in group["params"]}
    return {name: of[id(parameter)] for name, parameter in model.named_parameters()}


def test_position_embeddings_are_not_decayed(base: Path) -> None:
    assert "backbone.image.backbone.pos_embed" in make(base).no_weight_decay()


@pytest.mark.parametrize("frozen", [(), ("image",)])
def test_recomputed_activations_give_the_same_gradients(base: Path, frozen: tuple[str, ...]) -> None:
    def gradients(recompute: bool) -> dict[str, torch.Tensor]:
        model = make(base, frozen=frozen).train()
        model.head.dropout.p = 0.0
        if recompute:
            model.checkpoint_activations()
        functional.cross_entropy(model(*INPUTS), torch.tensor([0, 1])).backward()
        return {name: one.grad for name, one in model.named_parameters() if one.grad is not None}

    plain, again = gradients(False), gradients(True)
    assert plain.keys() == again.keys()
    assert all(torch.allclose(plain[name], again[name], atol=1e-6) for name in plain)


def test_statistics_of_batches_count_only_where_they_are_computed(tmp_path: Path) -> None:
    tiny.write_convolutional_base(tmp_path / "image", size=16)
    tiny.write_base(tmp_path / "text")
    assert make(tmp_path).smallest_part == 2
    frozen = make(tmp_path, frozen=("image",)).train()
    assert frozen.smallest_part == 1
    assert frozen(PIXELS[:1], IDS[:1], MASK[:1]).shape == (1, 3)


def test_rates_of_dropout_are_both_encoders_and_stochastic_depth_the_images(base: Path) -> None:
    model = make(base, dropout=0.1, drop_path=0.2)
    assert model.backbone.text.backbone.config.hidden_dropout_prob == 0.1
    last = model.backbone.image.backbone.blocks[-1]
    assert last.attn.proj_drop.p == 0.1
    assert last.drop_path1.drop_prob == pytest.approx(0.2)


def test_it_is_not_packed(base: Path) -> None:
    assert make(base).unpackable() == "texts next to images are not packed"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_a_gpu_gives_the_logits_and_gradients_of_the_cpu(base: Path) -> None:
    model = make(base).eval()
    expected = model(*INPUTS)
    functional.cross_entropy(expected, torch.tensor([0, 1])).backward()
    gradient = model.head.output.weight.grad.clone()
    model.zero_grad(set_to_none=True)
    moved = model.to("cuda")(*(one.to("cuda") for one in INPUTS))
    functional.cross_entropy(moved, torch.tensor([0, 1], device="cuda")).backward()
    assert torch.allclose(moved.cpu(), expected, atol=1e-2)
    assert torch.allclose(model.head.output.weight.grad.cpu(), gradient, atol=1e-2)


# ---- students ----


def of_both(image: Any, text: Any) -> params.ImageTextStudent:
    raw = {"kind": "image_text", "image": image, "text": text}
    return params.ImageTextStudent.model_validate(raw)


LAYERS = {"kind": "teacher_layers", "layers": (1,)}
WHOLE = {"kind": "whole"}


def test_a_student_has_layers_of_either_encoder_and_the_teachers_head(base: Path, tmp_path: Path) -> None:
    teacher = make(base).eval()
    made: Any = student.make(teacher, INFO, of_both(LAYERS, LAYERS), tiny.training(), "matmul").eval()
    own, theirs = made.state_dict(), teacher.state_dict()
    for name, layer in (("image", "blocks"), ("text", "encoder.layer")):
        copied = {key.replace(f"{layer}.0.", f"{layer}.1."): key for key in own if f".{name}." in key}
        assert all(torch.equal(own[key], theirs[there]) for there, key in copied.items())
        assert len(made.backbone.image.backbone.blocks) == 1
    rest = [key for key in own if key.startswith(("head.", "backbone.norms."))]
    assert len(rest) == 6 and all(torch.equal(own[key], theirs[key]) for key in rest)
    model_folder.save(made, INFO, base, tmp_path / "student")
    loaded, _ = model_folder.load(tmp_path / "student", "matmul")
    assert torch.equal(loaded(*INPUTS), made(*INPUTS))
    assert storage.read_json(tmp_path / "student/text/config.json")["num_hidden_layers"] == 1


def test_a_whole_student_answers_as_its_teacher(base: Path) -> None:
    teacher = make(base, dropout=0.4, drop_path=0.3).eval()
    settings = tiny.training(dropout=0.2, drop_path=0.1, frozen=("image",))
    made: Any = student.make(teacher, INFO, of_both(WHOLE, WHOLE), settings, "matmul").eval()
    assert torch.equal(made(*INPUTS), teacher(*INPUTS))
    assert made.backbone.frozen == {"image"}
    assert made.backbone.text.backbone.config.hidden_dropout_prob == 0.2
    blocks = made.backbone.image.backbone.blocks
    assert blocks[0].mlp.drop1.p == 0.2 and blocks[-1].drop_path1.drop_prob == pytest.approx(0.1)
    assert all(parameter.requires_grad for parameter in teacher.parameters())


def test_a_new_image_encoder_of_another_width_gets_a_new_head(base: Path) -> None:
    teacher = make(base).eval()
    new = {"kind": "timm", "architecture": "resnet10t", "arguments": {}}
    made: Any = student.make(teacher, INFO, of_both(new, LAYERS), tiny.training(), "matmul").eval()
    assert made.head.output.in_features == 512 + 32
    norms = made.backbone.norms
    assert torch.equal(norms["text"].weight, teacher.backbone.norms["text"].weight)
    assert made(*INPUTS).shape == (2, 3)
