"""Whisper's encoder as a classifier: weights, positions of the seconds that are read, layers, students."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import WhisperModel

from baton import params
from baton.contracts.input_spec import AudioInput
from baton.distill import student
from baton.errors import ModelError, ParamsError
from baton.models import model_folder
from baton.models.audio_model import AudioClassifier
from baton.models.image_model import ImageClassifier
from baton.sounds import whisper_frames
from baton.sources import base_model
from baton.train import optimizer
from tests import tiny

READS = AudioInput(16_000, 0.4, "head", 80, 400, 160)  # 40 frames, 20 of the base's 100 positions
MEAN = params.LinearHead(kind="linear", pooling="mean", dropout=0.0)
INFO = model_folder.ModelInfo(tiny.TASK, MEAN, READS)
PIXELS = torch.randint(0, 256, (3, 1, 80, 40), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
PIXELS[1, ..., 22:] = 0  # eleven positions, and silence


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_whisper(tmp_path_factory.mktemp("whisper") / "base", layers=3)


def created(base: Path, attention: str = "sdpa", **settings: Any) -> AudioClassifier:
    torch.manual_seed(1)
    made = model_folder.create(base, MEAN, 3, tiny.training(**settings), attention, READS)
    assert isinstance(made, AudioClassifier)
    return made.eval()


@pytest.mark.parametrize("attention", ["sdpa", "matmul"])
def test_features_are_the_means_of_whispers_vectors_over_the_clip(base: Path, attention: str) -> None:
    whole = WhisperModel.from_pretrained(base).encoder.eval()
    positions = whole.embed_positions.weight[:20]
    whole.embed_positions, whole.config.max_source_positions = (
        torch.nn.Embedding.from_pretrained(positions),
        20,
    )
    with torch.no_grad():
        states = whole(whisper_frames.features(PIXELS)).last_hidden_state
        features = created(base, attention).features(PIXELS)
    expected = torch.stack([states[0].mean(0), states[1, :11].mean(0), states[2].mean(0)])
    torch.testing.assert_close(features, expected, atol=1e-5, rtol=1e-4)


def test_a_saved_model_is_loaded_to_the_same_bits_and_is_a_base_again(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = created(base)
    model_folder.save(model, INFO, base, tmp_path / "inbox/model")
    loaded, info = model_folder.load(tmp_path / "inbox/model", "sdpa")
    assert info == INFO and torch.equal(loaded(PIXELS), model(PIXELS))
    local = params.LocalBase(kind="local", folder="inbox/model", licence="none")
    base_model.fetch_base(local, tmp_path / "again")
    assert torch.equal(created(tmp_path / "again").features(PIXELS), model.features(PIXELS))


def test_layers_have_learning_rates_of_their_own_and_positions_none(base: Path) -> None:
    model = created(base)
    groups = model.layer_groups()
    assert [len(group) for group in groups[1:]] == [15, 15, 15, 2, 2]  # layers, the last norm, the head
    assert {name.split(".")[1] for name in groups[0]} == {"conv1", "conv2", "embed_positions"}
    made = optimizer.make(model, tiny.training(layer_decay=0.5))
    scales = {group["scale"] for group in made.param_groups}
    assert scales == {1, 0.5, 0.25, 0.125, 0.0625, 0.03125}
    trained = {id(parameter) for group in made.param_groups for parameter in group["params"]}
    assert id(model.backbone.embed_positions.weight) not in trained


def test_a_student_has_layers_of_the_teacher(base: Path, tmp_path: Path) -> None:
    teacher = created(base)
    wanted = params.LayersStudent(kind="teacher_layers", layers=(0, 2))
    small = student.make(teacher, INFO, wanted, tiny.training(dropout=0.3), "sdpa").eval()
    assert small.backbone.config.encoder_layers == 2 and small.backbone.layers[0].dropout == 0.3
    model_folder.save(small, INFO, base, tmp_path / "student")
    loaded, _ = model_folder.load(tmp_path / "student", "sdpa")
    assert torch.equal(loaded(PIXELS), small(PIXELS))
    teacher.backbone.layers = torch.nn.ModuleList([teacher.backbone.layers[0], teacher.backbone.layers[2]])
    assert torch.equal(small(PIXELS), teacher(PIXELS))
    with pytest.raises(ParamsError, match="no such layer"):
        student.make(teacher, INFO, wanted.model_copy(update={"layers": (3,)}), tiny.training(), "sdpa")


def test_a_student_may_be_an_architecture_of_timm(base: Path, tmp_path: Path) -> None:
    wanted = params.TimmStudent(kind="timm", architecture="resnet18", arguments={"channels": (8, 8, 8, 8)})
    small = student.make(created(base), INFO, wanted, tiny.training(), "sdpa").eval()
    model_folder.save(small, INFO, base, tmp_path / "student")
    loaded, _ = model_folder.load(tmp_path / "student", "sdpa")
    assert isinstance(loaded, ImageClassifier) and torch.equal(loaded(PIXELS), small(PIXELS))


def test_what_does_not_fit_is_refused(base: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="pooling"):
        head = MEAN.model_copy(update={"pooling": "cls"})
        model_folder.create(base, head, 3, tiny.training(), "sdpa", READS)
    with pytest.raises(ModelError, match="stochastic depth"):
        created(base, drop_path=0.1)
    bert = tiny.write_base(tmp_path / "bert")
    with pytest.raises(ModelError, match="not an encoder of sound"):
        created(bert)
    (bert / "config.json").write_bytes((base / "config.json").read_bytes())
    with pytest.raises(ModelError, match="does not match"):
        created(bert)


def test_activations_can_be_recomputed(base: Path) -> None:
    plain, again = created(base).train(), created(base).train()
    again.checkpoint_activations()
    for model in (plain, again):
        model(PIXELS).square().sum().backward()
    for one, other in zip(plain.parameters(), again.parameters(), strict=True):
        assert (one.grad is None) == (other.grad is None)
        if one.grad is not None:
            torch.testing.assert_close(one.grad, other.grad)


@pytest.mark.gpu
def test_cuda_gives_the_logits_of_the_cpu(base: Path) -> None:
    model = created(base)
    with torch.no_grad():
        expected, found = model(PIXELS), model.cuda()(PIXELS.cuda()).cpu()
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-3)
