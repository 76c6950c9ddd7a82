"""Outputs in place of real ones have their shapes: `evaluate` and `distill` can read them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from baton import params, tracking
from baton.contracts import predictions
from baton.contracts.ragged import Ragged
from baton.estimate import stand_ins
from baton.fitting import jobs, seed_choice
from baton.models import model_folder
from baton.tasks import task_figures
from baton.train import resume
from tests import tiny, tiny_images, tiny_tokens

HEAD = params.LinearHead(kind="linear", pooling="mean", dropout=0.0)


def words(data: Path) -> None:
    tiny_tokens.write_arrays(data)


def pictures(data: Path) -> None:
    tiny.write_convolutional_base(data / "base")
    tiny_images.write_arrays(data, {"train": 12, "val": 6, "test": 6})


@pytest.mark.parametrize("write", [tiny.write_arrays, words, pictures])
def test_what_is_written_can_be_read(
    write: Callable[[Path], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("data"))
    saved = resume.StageCheckpoints(Path("checkpoints"), 1000.0)
    job = jobs.Job(jobs.open_data(None), tiny.machine(), tracking.Run(), saved)
    task, settings = job.data.task, tiny.training()
    model = model_folder.create(
        Path("data/base"), HEAD, task.width, settings, job.runtime.attention, job.data.input
    )
    info = model_folder.ModelInfo(task, HEAD, job.data.input)
    trained = seed_choice.Trained("teacher", "loss", task_figures.of(task))
    stand_ins.write("teacher", model, info, Path("data/base"), job, (0, 1), trained)
    trained.write("finetune")
    for split, rows in job.data.splits.items():
        _, found = predictions.read_predictions(Path(f"data/predictions/teacher/{split}.parquet"))
        values = found.values if isinstance(found, Ragged) else found
        assert isinstance(found, Ragged) == (rows.units is not None)
        assert isinstance(values, np.ndarray) and values.shape[1] == task.width
    assert model_folder.load(Path("models/teacher"), job.runtime.attention)[1].task == task
    assert (
        Path("data/predictions/seeds/teacher/1.parquet").is_file() and Path("curves/finetune.csv").is_file()
    )
