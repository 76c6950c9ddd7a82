"""The prediction benchmark: both sides are the same model."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from baton import params
from benchmarks import predict_speed


@pytest.fixture(scope="module")
def job(project: Path, tmp_path_factory: pytest.TempPathFactory) -> predict_speed.Job:
    folder = tmp_path_factory.mktemp("predict")
    predict_speed.prepare(project, folder, 10, 0)
    return predict_speed.Job(folder, 16, 4, 4, params.load("runtime", path=project / "params.yaml").runtime)


def test_both_sides_are_the_same_model(job: predict_speed.Job, project: Path, tmp_path: Path) -> None:
    theirs = predict_speed.pipeline(job, "float32", 3)
    ours = predict_speed.ours(job)
    assert len(ours.labels) == 10 and ours.labels == theirs.labels
    np.testing.assert_allclose(ours.scores, theirs.scores, atol=1e-5)
    assert 0 < ours.tokenizing < ours.seconds
    predict_speed.prepare(project, tmp_path, 10, 1)  # other weights: the comparison can fail
    assert (
        np.abs(np.array(predict_speed.ours(replace(job, folder=tmp_path)).scores) - theirs.scores).max()
        > 1e-3
    )


def test_the_best_of_the_trials_is_chosen(job: predict_speed.Job, monkeypatch: pytest.MonkeyPatch) -> None:
    rates = {"float32": {1: 5.0, 8: 7.0}, "bfloat16": {1: 9.0, 8: 6.0}}
    monkeypatch.setattr(predict_speed, "trial", lambda job, dtype, documents, sizes: rates[dtype])
    monkeypatch.setattr("benchmarks._sides.processes", _in_this_process)
    dtype, size, rows = predict_speed.best(job, 5, (1, 8), False)
    assert (dtype, size) == ("bfloat16", 1)
    assert rows == [["float32", "5.0", "7.0"], ["bfloat16", "9.0", "6.0"]]


@pytest.mark.slow
def test_it_prints_ratios(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    predict_speed.main(
        [
            "--project",
            str(project),
            "--documents",
            "10",
            "--trial-documents",
            "4",
            "--batch-sizes",
            "1",
            "2",
            "--repeats",
            "1",
        ]
    )
    printed = capsys.readouterr().out
    assert "ours, including tokenizing" in printed and "the same label on" in printed


class _in_this_process:  # noqa: N801  takes the place of a function
    def __init__(self, sides: dict[str, object], all_launched: bool) -> None:
        self.sides = sides

    def __enter__(self) -> dict[str, object]:
        return self.sides

    def __exit__(self, *_error: object) -> None:
        pass
