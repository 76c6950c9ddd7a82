"""Text classifiers: created from a base model, saved and loaded; the order of their layers; students."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from baton import params, storage
from baton.distill import student
from baton.errors import DataError, ModelError, ParamsError
from baton.models import model_folder
from tests import tiny

LINEAR = params.LinearHead(kind="linear", pooling="mean", dropout=0.1)
MLP = params.MlpHead(kind="mlp", pooling="cls", dropout=0.1, width=7)
IDS = torch.tensor([[2, 9, 8, 7, 3], [2, 9, 3, 0, 0]])
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_base(tmp_path_factory.mktemp("base"))


def make(base: Path, head: params.Head = LINEAR, attention: str = "matmul") -> model_folder.Classifier:
    torch.manual_seed(1)
    settings = tiny.training(dropout=0.1, attention_dropout=0.2)
    return model_folder.create(base, head, 3, settings, attention, tiny.TEXT_INPUT).eval()


@pytest.mark.parametrize(
    "head",
    [LINEAR, MLP, LINEAR.model_copy(update={"pooling": "pooler"})],
    ids=["linear-mean", "mlp-cls", "pooler"],
)
def test_a_saved_model_loads_to_the_same_logits(base: Path, tmp_path: Path, head: params.Head) -> None:
    model = make(base, head)
    info = model_folder.ModelInfo(
        tiny.task("a", "b", "c"), head, tiny.TEXT_INPUT, fitted={"temperature": 1.25}
    )
    model_folder.save(model, info, base, tmp_path / "model")
    loaded, loaded_info = model_folder.load(tmp_path / "model", "matmul")
    assert loaded_info == info
    assert torch.equal(loaded(IDS, MASK), model(IDS, MASK))
    assert (tmp_path / "model" / "tokenizer.json").is_file()


@pytest.mark.parametrize("earlier", [{"temperature": 1.25}, {}])
def test_a_folder_of_an_earlier_version_has_its_temperature(
    base: Path, tmp_path: Path, earlier: dict[str, float]
) -> None:
    """They wrote it beside the other keys, or, earlier still, none."""
    info = model_folder.ModelInfo(tiny.task("a", "b", "c"), LINEAR, tiny.TEXT_INPUT)
    model_folder.save(make(base), info, base, tmp_path / "model")
    path = tmp_path / "model" / "baton.json"
    raw = storage.read_json(path)
    del raw["fitted"]
    storage.write_json(path, raw | earlier)
    assert model_folder.load(path.parent, "matmul")[1].fitted == {
        "temperature": earlier.get("temperature", 1.0)
    }


def test_padding_changes_nothing(base: Path) -> None:
    for head in (LINEAR, MLP):
        model = make(base, head)
        torch.testing.assert_close(model(IDS, MASK)[1:], model(IDS[1:, :3], MASK[1:, :3]))


def test_the_two_attentions_agree(base: Path) -> None:
    torch.testing.assert_close(make(base)(IDS, MASK), make(base, attention="sdpa")(IDS, MASK))


def test_dropout_rates_are_those_of_params(base: Path) -> None:
    config = make(base).backbone.config
    assert (config.hidden_dropout_prob, config.attention_probs_dropout_prob) == (0.1, 0.2)


INFO = model_folder.ModelInfo(tiny.task("a", "b", "c"), LINEAR, tiny.TEXT_INPUT)


def make_student(
    teacher: model_folder.Classifier, layers: list[int], dropout: float = 0.0, attention_dropout: float = 0.0
) -> model_folder.Classifier:
    chosen = params.LayersStudent(kind="teacher_layers", layers=tuple(layers))
    settings = tiny.training(dropout=dropout, attention_dropout=attention_dropout)
    return student.make(teacher, INFO, chosen, settings, "matmul").eval()


def test_a_student_is_its_teacher_without_the_other_layers(base: Path) -> None:
    teacher = make(base)
    small = make_student(teacher, [1], 0.3, 0.4)
    taught, own = teacher.backbone.encoder.layer[1], small.backbone.encoder.layer[0]
    assert torch.equal(own.attention.self.query.weight, taught.attention.self.query.weight)
    assert torch.equal(small.head.output.weight, teacher.head.output.weight)
    skipped = make(base)
    skipped.backbone.encoder.layer = nn.ModuleList([skipped.backbone.encoder.layer[1]])
    assert torch.equal(small(IDS, MASK), skipped(IDS, MASK))
    assert len(teacher.backbone.encoder.layer) == 2  # the teacher is untouched
    rates = {
        name: module.p for name, module in small.backbone.named_modules() if isinstance(module, nn.Dropout)
    }
    assert rates["encoder.layer.0.attention.self.dropout"] == 0.4
    assert rates["encoder.layer.0.output.dropout"] == rates["embeddings.dropout"] == 0.3


def test_a_student_saves_and_loads(base: Path, tmp_path: Path) -> None:
    small = make_student(make(base), [1])
    model_folder.save(small, INFO, base, tmp_path / "student")
    loaded, _ = model_folder.load(tmp_path / "student", "matmul")
    assert torch.equal(loaded(IDS, MASK), small(IDS, MASK))


@pytest.mark.parametrize("family", ["distilbert", "roberta", "modernbert", "electra"])
def test_students_of_other_families_save_and_load(tmp_path: Path, family: str) -> None:
    from transformers import AutoConfig, AutoModel

    sizes = {
        "vocab_size": 50,
        "hidden_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "pad_token_id": 0,
    }
    names = {
        "distilbert": {"dim": 32, "n_layers": 3, "n_heads": 4, "hidden_dim": 64},
        "electra": {"embedding_size": 32},
    }
    config = AutoConfig.for_model(family, **sizes, **names.get(family, {}), max_position_embeddings=64)
    torch.manual_seed(0)
    AutoModel.from_config(config).save_pretrained(tmp_path / "base")
    teacher = make(tmp_path / "base")
    small = make_student(teacher, [0, 2], 0.3, 0.4)
    groups = teacher.layer_groups()
    assert len(groups) == 5 + (family == "modernbert")  # embeddings, three layers, a last norm, head
    assert all("embed" in name for name in groups[0]) and not any("embed" in name for name in groups[1])
    model_folder.save(small, INFO, tmp_path / "base", tmp_path / "student")
    loaded, _ = model_folder.load(tmp_path / "student", "matmul")
    assert torch.equal(loaded(IDS, MASK), small(IDS, MASK))
    assert not torch.equal(small(IDS, MASK), teacher(IDS, MASK))
    if family == "distilbert":
        rates = {
            name: module.p
            for name, module in small.backbone.named_modules()
            if isinstance(module, nn.Dropout)
        }
        assert rates["transformer.layer.0.attention.dropout"] == 0.4
        assert rates["transformer.layer.0.ffn.dropout"] == 0.3


@pytest.mark.parametrize("pooling", ["mean", "pooler"])
def test_the_layers_of_an_encoder_go_from_the_embeddings_to_the_head(base: Path, pooling: str) -> None:
    groups = make(base, LINEAR.model_copy(update={"pooling": pooling})).layer_groups()
    starts = [
        "backbone.embeddings.",
        "backbone.encoder.layer.0.",
        "backbone.encoder.layer.1.",
        "backbone.pooler.",
        "head.",
    ]
    starts = [start for start in starts if pooling == "pooler" or "pooler" not in start]
    assert len(groups) == len(starts)
    for group, start in zip(groups, starts, strict=True):
        assert group and all(name.startswith(start) for name in group), (start, group)


def test_an_encoder_whose_layers_share_their_weights_has_one(tmp_path: Path) -> None:
    from transformers import AlbertConfig, AlbertModel

    sizes = {
        "vocab_size": 50,
        "embedding_size": 16,
        "hidden_size": 32,
        "num_attention_heads": 4,
        "intermediate_size": 64,
    }
    AlbertModel(AlbertConfig(**sizes, num_hidden_layers=3)).save_pretrained(tmp_path)
    groups = make(tmp_path).layer_groups()
    assert [len(groups), "embedding" in groups[0][0], "albert_layer" in groups[1][0]] == [3, True, True]


def test_activations_are_computed_again_with_the_same_gradient(base: Path) -> None:
    gradients = []
    for again in (False, True):
        model = make(base).train()
        if again:
            model.checkpoint_activations()
        torch.manual_seed(3)
        model(IDS, MASK).square().sum().backward()
        gradients.append(model.backbone.embeddings.word_embeddings.weight.grad)
    assert model.backbone.is_activation_checkpointing
    assert torch.equal(*gradients)


def test_text_has_no_stochastic_depth(base: Path) -> None:
    with pytest.raises(ModelError, match=r"no stochastic depth[\s\S]*drop_path 0\.1"):
        model_folder.create(base, LINEAR, 3, tiny.training(drop_path=0.1), "matmul", tiny.TEXT_INPUT)


def test_a_folder_of_an_earlier_version_is_named(base: Path, tmp_path: Path) -> None:
    model_folder.save(make(base), INFO, base, tmp_path / "model")
    (tmp_path / "model" / "baton.json").write_text(
        '{"labels": ["a"], "head": {}, "max_length": 16, "pad": 0}'
    )
    with pytest.raises(ModelError, match=r"has an unknown layout[\s\S]*max_length"):
        model_folder.load(tmp_path / "model", "matmul")


def test_an_input_of_another_version_is_named_with_its_file(base: Path, tmp_path: Path) -> None:
    model_folder.save(make(base), INFO, base, tmp_path / "model")
    path = tmp_path / "model/baton.json"
    written = storage.read_json(path)
    for changed, part in (
        ({"kind": "video"}, "unknown kind\n  got:      video"),
        ({"stride": 4}, "unknown layout\n  got:      kind, max_length, pad, stride, truncation"),
    ):
        path.write_text(json.dumps(written | {"input": written["input"] | changed}))
        with pytest.raises(DataError) as raised:
            model_folder.load(tmp_path / "model", "matmul")
        assert f"{path}: input has an {part}" in str(raised.value)


def test_a_layer_that_is_not_there_is_refused(base: Path) -> None:
    with pytest.raises(ParamsError, match=r"distill\.student\.layers[\s\S]*less than 2"):
        make_student(make(base), [0, 2])


def test_a_base_whose_weights_do_not_fit_is_refused_not_drawn_at_random(base: Path, tmp_path: Path) -> None:
    # Its keys are `backbone.*`: not an encoder's own checkpoint.
    model_folder.save(make(base), INFO, base, tmp_path / "model")
    with pytest.raises(ModelError, match=r"does not match config\.json[\s\S]*missing"):
        make(tmp_path / "model")


def test_an_incomplete_folder_is_refused(base: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no baton\.json"):
        model_folder.load(base, "matmul")
    (tmp_path / "config.json").write_text('{"model_type": "no-such-thing"}')
    with pytest.raises(ModelError, match="is not a known encoder"):
        make(tmp_path)


def test_weights_that_do_not_fit_are_refused(base: Path, tmp_path: Path) -> None:
    model_folder.save(
        make(base),
        model_folder.ModelInfo(tiny.task("a", "b", "c", "d"), LINEAR, tiny.TEXT_INPUT),
        base,
        tmp_path / "model",
    )
    with pytest.raises(ModelError, match="does not match"):
        model_folder.load(tmp_path / "model", "matmul")
