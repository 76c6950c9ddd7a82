"""A model that was trained on one task as the base of another: the encoder stays, the head is a new one."""

from pathlib import Path

import numpy as np
import pytest
import torch

from baton import params, storage
from baton.batches import array_splits
from baton.contracts.input_spec import TextInput
from baton.contracts.ragged import Ragged
from baton.contracts.task_spec import Classes, Labels, Numbers, TaskSpec
from baton.distill import student
from baton.errors import ModelError
from baton.models import model_folder
from baton.predict import predict
from baton.sources import base_model
from tests import tiny, tiny_questions, tiny_tokens

HEAD = params.LinearHead(kind="linear", pooling="mean", dropout=0.0)
SEEN = tiny.TEXT_INPUT  # what models of rows read
SOURCES = ("classes", "student of classes", "tokens")
TARGETS: dict[str, tuple[TaskSpec, TextInput]] = {
    "other classes": (Classes(("fast", "slow")), SEEN),
    "labels": (Labels(("a", "b", "c", "d")), SEEN),
    "numbers": (Numbers(("price", "stars"), (3.0, 1.0), (1.0, 2.0), "mse", 0.9), SEEN),
    "tokens": (tiny_tokens.TASK, tiny_tokens.IN_WINDOWS),
    "spans": (tiny_questions.TASK, tiny_questions.IN_WINDOWS),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of the model folders of `SOURCES`, each with weights of its own."""
    root = tmp_path_factory.mktemp("trained")
    base = tiny.write_base(root / "base", layers=3)
    torch.manual_seed(1)
    specs: dict[str, tuple[TaskSpec, TextInput]] = {
        "classes": (tiny.TASK, SEEN),
        "tokens": (tiny_tokens.TASK, tiny_tokens.IN_WINDOWS),
    }
    for name, (task, reads) in specs.items():
        model = model_folder.create(base, HEAD, task.width, tiny.training(), "matmul", reads)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.01 * torch.randn_like(parameter))
        model_folder.save(model, model_folder.ModelInfo(task, HEAD, reads), base, root / name)
    teacher, info = model_folder.load(root / "classes", "matmul")
    wanted = params.LayersStudent(kind="teacher_layers", layers=(0, 2))
    small = student.make(teacher, info, wanted, tiny.training(), "matmul")
    model_folder.save(small, info, root / "classes", root / "student of classes")
    return root


def fetched(source: Path, target: Path) -> Path:
    """Fetch a base model as `download` does."""
    digest = storage.sha256_tree(source)
    section = {"kind": "run", "run": "0" * 32, "model": "teacher", "sha256": digest, "licence": ""}
    base_model.fetch_base(params.RunBase.model_validate(section), target, lambda *_: source)
    return target


def write_arrays(data: Path, name: str) -> Path:
    if name in ("tokens", "spans"):
        return {"tokens": tiny_tokens, "spans": tiny_questions}[name].write_arrays(data)
    tiny.write_arrays(data)  # the targets of rows are not read here
    return data / "arrays"


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("source", SOURCES)
def test_the_encoder_stays_and_the_head_is_new(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, target: str
) -> None:
    monkeypatch.chdir(tmp_path)
    base = fetched(trained / source, Path("fetched"))
    task, reads = TARGETS[target]
    torch.manual_seed(2)
    model = model_folder.create(base, HEAD, task.width, tiny.training(), "matmul", reads)
    before, _ = model_folder.load(trained / source, "matmul")
    expected = before.backbone.state_dict()
    own = model.backbone.state_dict()
    assert own.keys() == expected.keys() and all(torch.equal(own[name], expected[name]) for name in own)
    assert model.head.output.weight.shape == (task.width, 32)
    assert not (base / "baton.json").exists()
    split = array_splits.open_splits(write_arrays(tmp_path / "data", target))["test"]
    found = predict(model.eval(), split, tiny.machine(), 8)
    logits = found.values if isinstance(found, Ragged) else found
    assert isinstance(logits, np.ndarray) and logits.shape[1] == task.width and np.isfinite(logits).all()


def test_a_model_of_texts_as_answers_needs_a_decoder(trained: Path, tmp_path: Path) -> None:
    """An encoder alone cannot write: the error names what is needed."""
    from baton.contracts.task_spec import Sequence

    task, folder = Sequence(8, 1, 4), fetched(trained / "classes", tmp_path / "base")
    with pytest.raises(ModelError, match="not a known encoder-decoder"):
        model_folder.create_sequence(folder, folder, task, tiny.training(), "matmul", SEEN)
