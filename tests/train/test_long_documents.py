"""Test documents whose class shows only after their 200th token: windows find it, the head alone does not."""

from pathlib import Path

import numpy as np
import pytest
import torch

from baton import params
from baton.arrays import text_arrays
from baton.batches.sampler import TrainingBatches
from baton.batches.text_batches import TextSplit
from baton.contracts import input_spec
from baton.distill import soft_targets, student
from baton.losses import class_losses
from baton.losses.loss import Loss
from baton.models import model_folder
from baton.predict import predict
from baton.runtime import resolve
from baton.tasks import metrics
from baton.texts import document_windows
from baton.train import loop
from tests import tiny

FILLER = ["rose", "sharply", "and", "left", "the", "board", "talks", "failed", "near", "in"]
SIGNS = (["wheat", "corn"], ["port", "vessels"])
HEAD = params.LinearHead(kind="linear", pooling="mean", dropout=0.0)
SETTINGS = {"epochs": 4, "batch_size": 8, "learning_rate": 3e-3, "log_every": 100}
WINDOWS = input_spec.Windows(most=8, overlap=0)
TAIL, HEAD_TAIL = input_spec.Tail(), input_spec.HeadTail(head=0.5)


def documents(count: int, seed: int) -> list[tuple[str, int]]:
    """Two classes by turns: 200 words of noise, 24 that reveal the class, and 100 words of noise."""
    random = np.random.default_rng(seed)
    rows = []
    for row in range(count):
        words = list(random.choice(FILLER, 324))
        words[200:224] = random.choice(SIGNS[row % 2], 24)
        rows.append((" ".join(words), row % 2))
    return rows


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("long")
    tiny.write_base(folder / "base")
    tiny.write_splits(
        folder / "clean", {"train": documents(96, 0), "val": documents(100, 1)}, ["grain", "ship"]
    )
    return folder


def splits(root: Path, how: input_spec.Truncation) -> dict[str, TextSplit]:
    folder = root / f"{how.kind}-arrays"
    folder.mkdir(exist_ok=True)
    tokenizer = document_windows.open_tokenizer(root / "base", 64)
    for split in ("train", "val"):
        text_arrays.tokenize(
            root / "clean" / f"{split}.parquet", tokenizer, folder, 100, lambda count: None, tiny.TASK, how
        )
    return {
        split: TextSplit(text_arrays.open_arrays(folder, split, tiny.TASK), 0) for split in ("train", "val")
    }


def fit(model: model_folder.Classifier, data: dict[str, TextSplit], loss_fn: Loss) -> float:
    """Return the validation accuracy after a real training run."""
    machine, settings, val = tiny.machine(), tiny.training(**SETTINGS), data["val"]

    def scores() -> dict[str, float]:
        found = metrics.scores(predict(model, val, machine, 32), val.targets.all)
        return {"loss": found["log_loss"], "accuracy": found["accuracy"], "macro_f1": found["macro_f1"]}

    for _ in loop.train(model, TrainingBatches(data["train"], 8, 1, 0), loss_fn, scores, settings, machine):
        pass
    return scores()["accuracy"]


def create(root: Path) -> model_folder.Classifier:
    resolve.seed_everything(0)
    return model_folder.create(root / "base", HEAD, 2, tiny.training(**SETTINGS), "matmul", tiny.TEXT_INPUT)


@pytest.mark.parametrize("how", [text_arrays.HEAD, TAIL, HEAD_TAIL], ids=lambda how: how.kind)
def test_what_is_cut_away_cannot_be_learned(root: Path, how: input_spec.Truncation) -> None:
    """The negative control of the next test.

    By chance 50 of 100 documents are right, and less than 65 in 998 of 1,000 cases.
    """
    assert 0.35 <= fit(create(root), splits(root, how), class_losses.cross_entropy(0.0, None)) <= 0.65


def test_windows_read_it_and_a_student_learns_from_their_teacher(root: Path) -> None:
    data = splits(root, WINDOWS)
    assert data["train"].windows.tolist() == [6] * 96  # 324 words in six windows of 54
    teacher = create(root)
    assert fit(teacher, data, class_losses.cross_entropy(0.0, None)) >= 0.95
    machine, labels = tiny.machine(), ["grain", "ship"]
    cache = predict(teacher, data["train"], machine, 32)
    assert cache.shape == (96, 2), "one row per document"
    info = model_folder.ModelInfo(tiny.task(*labels), HEAD, tiny.TEXT_INPUT)
    layers = params.LayersStudent(kind="teacher_layers", layers=(0,))
    made = student.make(teacher, info, layers, tiny.training(**SETTINGS), "matmul")

    told = tiny.distilled(tiny.LOSSES, soft_targets.cached(torch.from_numpy(cache)), 2.0, 0.3, 0.0, None)
    assert fit(made, data, told) >= 0.95
