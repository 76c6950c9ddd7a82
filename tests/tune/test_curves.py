"""Validation curves: the same from the file that is written meanwhile and from the table."""

from pathlib import Path

import pytest

from baton import tracking
from baton.tracking import points
from baton.tune import curves

TABLE = """model,seed,step,epoch,loss,learning_rate,gradient_norm,val_accuracy,val_loss
student,0,5,0.5,0.7,0.001,1.0,,
student,0,10,1.0,0.6,0.001,1.0,,
student,0,10,1.0,,,,0.8125,0.5
control,0,10,1.0,,,,0.1,0.9
"""
CURVE = [{"step": 10, "loss": 0.6, "val_accuracy": 0.8125, "val_loss": 0.5}]


def test_from_the_table(tmp_path: Path) -> None:
    (tmp_path / "curve.csv").write_text(TABLE)
    assert curves.written(tmp_path / "curve.csv", "student") == CURVE
    assert curves.figures(CURVE, "accuracy") == [0.8125]


def test_from_the_file_of_a_stage_that_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "new/points.jsonl"
    assert curves.running(path, "student") == []
    monkeypatch.setenv(points.VARIABLE, str(path))
    monkeypatch.setenv(tracking.TRACKING, "off")
    monkeypatch.chdir(Path(__file__).parents[2])
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    for _ in range(2):  # a resumed training run records its points again
        with tracking.stage("distill", {}) as run:
            run.metrics({"student/loss": 0.7, "student/learning_rate": 0.001}, 5)
            run.metrics({"student/loss": 0.6}, 10)
            run.metrics({"student/val_accuracy": 0.8125, "student/val_loss": 0.5}, 10)
            assert curves.running(path, "student") == CURVE
            run.metrics({"control/val_accuracy": 0.1}, 10)
    with path.open("a") as file:
        file.write('{"step": 20, "student/val_acc')
    assert curves.running(path, "student") == CURVE, "half a line does not count"


def test_nothing_is_written_by_other_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(points.VARIABLE, str(tmp_path / "points"))
    with points.recorded(record=False) as run:
        run.metrics({"teacher/loss": 1.0}, 1)
    monkeypatch.delenv(points.VARIABLE)
    with points.recorded(record=True) as run:
        run.metrics({"teacher/loss": 1.0}, 1)
    assert not list(tmp_path.iterdir())
