"""A student reads rows with and without labels; only labels that exist count, and doubtful rows do not."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from baton import params, storage, tracking
from baton.batches import array_splits
from baton.contracts import predictions, transfer_set
from baton.distill import soft_targets
from baton.errors import DataError
from baton.fitting import jobs, teaching
from baton.losses.class_losses import ClassLosses
from baton.train import resume
from tests import tiny

DISTILL = {
    "student": {"kind": "teacher_layers", "layers": (0,)},
    "teacher": "cached",
    "soft": {"kind": "divergence"},
    "correct": False,
    "standardise": False,
    "features": None,
    "states": None,
    "temperature": 2.0,
    "alpha": 0.3,
    "knowledge": None,
    "confidence": None,
}
TEACHER = {"kind": "teacher", "seeds": "best", "weight": 1.0}
TFIDF = {
    "kind": "tfidf",
    "weight": 1.0,
    "folds": 3,
    "min_df": 1,
    "max_ngram": 1,
    "stop_words": None,
    "C": (1.0, 10.0),
}
FILE = {"kind": "file", "weight": 1.0}
ROWS, REST = 48, 10


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> jobs.Job:
    """Write 48 rows of train and ten without labels, and a teacher's answers."""
    monkeypatch.chdir(tmp_path)
    tiny.write_arrays(Path("data"))
    table = pa.table({"id": [f"unlabelled:{row}" for row in range(REST)], "text": ["wheat in port"] * REST})
    pq.write_table(table, Path("data/clean", transfer_set.TABLE))
    tiny.write_transfer(Path("data"))
    for split, rows in (("train", ROWS), ("val", 6), ("test", 12)):
        ids = array_splits.read_ids(Path("data/arrays"), split)
        logits = np.random.default_rng(len(split)).normal(size=(rows, 3)).astype(np.float32)
        if split == "val":  # what it says there is right, so that it is not calibrated to doubt everything
            labels = array_splits.open_splits(Path("data/arrays"))["val"].targets.all
            logits = 9 * np.eye(3, dtype=np.float32)[labels]
        predictions.write_predictions(Path(f"data/predictions/teacher/{split}.parquet"), ids, logits)
    return jobs.Job(
        jobs.open_data(None),
        tiny.machine(),
        tracking.Run(),
        resume.StageCheckpoints(Path("checkpoints"), 1000.0),
    )


def settings(**changes: Any) -> params.Distill:
    return params.Distill.model_validate(tiny.TRAINING | DISTILL | changes)


def best() -> np.ndarray:
    _, logits = predictions.read_predictions(Path("data/predictions/teacher/train.parquet"))
    assert isinstance(logits, np.ndarray)
    return logits


def rest(sure: int = REST) -> teaching.Rest:
    """Return a teacher that is sure of the first rows without labels alone."""

    def answer(part: object) -> np.ndarray:
        assert len(part) == REST  # type: ignore[arg-type]
        logits = np.zeros((REST, 3), np.float32)
        logits[:sure, 1] = 9.0
        return logits

    return answer


def test_the_student_reads_all_rows_and_keeps_the_teachers_logits(job: jobs.Job) -> None:
    made, soft = teaching.lesson(settings(), job, best(), rest())
    assert len(made.job.data.splits["train"]) == ROWS + REST and made.job.whole == "transfer"
    assert torch.equal(soft[:ROWS], torch.from_numpy(best()))
    assert made.labelled is not None and made.labelled.tolist() == [1.0] * ROWS + [0.0] * REST
    assert storage.read_json(teaching.KNOWN / "sources.json") == {
        "labelled": ROWS,
        "rows": ROWS + REST,
        "sources": [],
    }
    batches = made.job.batches(settings(), 1)
    names = {name for step in range(batches.steps_per_epoch) for name in batches.names(step)}
    assert len(names) == ROWS + REST and "unlabelled:9" in names
    assert len(job.data.splits["train"]) == ROWS


def test_rows_of_which_no_source_is_confident_are_left_out(job: jobs.Job) -> None:
    made, _ = teaching.lesson(settings(confidence=0.9), job, best(), rest(sure=4))
    train = made.job.data.splits["train"]
    assert len(train) == ROWS + 4  # rows with labels stay
    batch = train.batch(np.arange(ROWS, ROWS + 4))
    assert batch.units.tolist() == list(range(ROWS, ROWS + 4))


def test_a_row_without_label_has_no_part_in_the_loss_of_labels(job: jobs.Job) -> None:
    made, soft = teaching.lesson(settings(), job, best(), rest())
    batch = made.job.data.splits["train"].batch(np.arange(ROWS - 2, ROWS + 3))
    logits = torch.randn(5, 3, requires_grad=True)

    def gradient(labelled: torch.Tensor | None) -> torch.Tensor:
        loss = tiny.distilled(
            ClassLosses(tiny.TASK), soft_targets.cached(soft), 1.0, 1.0, 0.0, None, None, labelled
        )
        return torch.autograd.grad(loss(lambda *_: logits, batch), logits)[0].abs().sum(dim=1)

    assert (gradient(made.labelled)[:2] > 0).all() and (gradient(made.labelled)[2:] == 0).all()
    assert (gradient(None) > 0).all()  # the control


def test_the_mean_of_teacher_and_tfidf_teaches(job: jobs.Job) -> None:
    _, soft = teaching.lesson(settings(knowledge=(TEACHER, TFIDF)), job, best(), rest())
    assert np.exp(soft.numpy()).sum(axis=1) == pytest.approx(np.ones(ROWS + REST), abs=1e-5)
    names = {path.name for path in teaching.KNOWN.iterdir()}
    assert names == {"sources.json"} | {
        f"{name}.{split}.parquet" for name in ("teacher", "tfidf", "mean") for split in ("val", "test")
    }


def test_soft_labels_of_a_file_teach_the_rows_that_they_name(job: jobs.Job) -> None:
    ids = array_splits.read_ids(Path("data/arrays"), "transfer")
    chosen = [ids[1], ids[ROWS + 2]]
    sure = np.log(np.array([[0.98, 0.01, 0.01]] * 2, np.float32))
    with pytest.raises(DataError, match=r"source\.soft_labels"):
        teaching.lesson(settings(knowledge=(FILE,)), job, best(), rest())
    predictions.write_predictions(teaching.SOFT, chosen, sure)
    made, soft = teaching.lesson(settings(knowledge=(FILE,)), job, best(), rest())
    assert len(made.job.data.splits["train"]) == ROWS + 1, "nothing is known of nine rows"
    shown = soft.numpy().argmax(axis=1)
    assert shown[1] == shown[ROWS + 2] == 0
    labels = job.data.splits["train"].targets.all
    others = np.arange(ROWS) != 1
    assert (shown[:ROWS][others] == labels[others]).all()


def test_all_seeds_of_the_teacher_need_answers_that_were_kept(job: jobs.Job) -> None:
    every = (TEACHER | {"seeds": "all"},)
    with pytest.raises(DataError, match=r"finetune\.keep"):
        teaching.lesson(settings(knowledge=every), job, best(), rest())


def test_nothing_changes_without_rows_or_sources_of_its_own(job: jobs.Job) -> None:
    alone = {name: split for name, split in job.data.splits.items() if name != "transfer"}
    data = jobs.Data(alone, job.data.task, job.data.input)
    assert not teaching.needed(settings(), data)
    assert teaching.needed(settings(), job.data) and teaching.needed(settings(confidence=0.5), data)
