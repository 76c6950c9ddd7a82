"""The figures of other tasks are those of their own rows, predictions and fitted values."""

from pathlib import Path

import numpy as np
import pytest

from baton import params, storage
from baton.contracts import predictions
from baton.errors import DataError
from baton.evaluate import other_tasks
from tests import tiny, tiny_tasks

LOGITS = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
FITTED = {"temperature": 1.0, "thresholds": [0.2, 0.5, 0.8]}


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Return the folders of clean tables and predictions, with one other task, of labels."""
    tiny.write_arrays(tmp_path)
    tiny_tasks.write(tmp_path, "words")
    answers = storage.of_task(tmp_path / "teacher", "words")
    ids = [f"test:{place + 1}" for place in range(12)]
    predictions.write_predictions(answers / "test.parquet", ids, LOGITS)
    storage.write_json(answers / "fitted.json", {"fitted": FITTED})
    return tmp_path / "clean", tmp_path / "teacher"


def evaluated() -> params.Evaluate:
    own = params.read(Path(__file__).parents[2] / "params.yaml").evaluate
    return own.model_copy(update={"bootstrap": own.bootstrap.model_copy(update={"resamples": 50})})


def test_figures_are_those_of_the_task(folders: tuple[Path, Path]) -> None:
    found = other_tasks.figures(*folders, evaluated())
    own = found["words"]
    assert list(found) == ["words"] and own["task"] == {"kind": "labels", "names": list(tiny_tasks.WORDS)}
    truth = np.array([[word in text for word in tiny_tasks.WORDS] for text in tiny_tasks.TEXTS])
    marked = 1 / (1 + np.exp(-LOGITS)) >= FITTED["thresholds"]
    right = (truth & marked).sum()
    assert own["micro_f1"] == pytest.approx(2 * right / (truth.sum() + marked.sum()), abs=1e-6)
    low, high = own["micro_f1_interval"]
    assert low <= own["micro_f1"] <= high
    (line,) = other_tasks.said(found)
    assert line == (
        f"The teacher's other task words: micro F1 {100 * own['micro_f1']:.1f}% ({100 * low:.1f}% to "
        f"{100 * high:.1f}%) on 12 test rows."
    )


def test_without_other_tasks_there_are_none(tmp_path: Path) -> None:
    assert other_tasks.figures(tmp_path, tmp_path, evaluated()) == {} and other_tasks.said({}) == []


def test_missing_predictions_are_named(folders: tuple[Path, Path]) -> None:
    clean, teacher = folders
    (teacher / "tasks/words/fitted.json").unlink()
    with pytest.raises(DataError, match=r"words.fitted.json has no fitted values"):
        other_tasks.figures(clean, teacher, evaluated())
    (teacher / "tasks/words/test.parquet").unlink()
    with pytest.raises(DataError, match=r"words.test.parquet"):
        other_tasks.figures(clean, teacher, evaluated())
