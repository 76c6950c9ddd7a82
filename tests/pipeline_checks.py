"""What holds for the pipeline of every kind: the teacher teaches the student, and the gate judges it."""

import csv
from pathlib import Path
from typing import Any

import pytest

from baton import storage
from tests.test_pipeline import BATON, Project


def check_distillation(project: Project) -> None:
    """Check that the teacher is all that tells the student from its control.

    They differ; with `alpha` 1, where labels alone teach, they are the same network.
    """
    assert _weights(project, "student") != _weights(project, "control")
    alpha = _alpha(project, 1.0)
    try:
        project.dvc("repro", "--single-item", "distill")
        assert _weights(project, "student") == _weights(project, "control")
    finally:
        _alpha(project, alpha)
        project.dvc("repro", "--single-item", "distill")  # as it was, from the run-cache
    assert _weights(project, "student") != _weights(project, "control")


def _alpha(project: Project, value: float) -> float:
    """Set `distill.alpha`; return what it was."""
    before: list[float] = []

    def change(raw: dict[str, Any]) -> None:
        before.append(raw["distill"]["alpha"])
        raw["distill"]["alpha"] = value

    project.edit(change)
    return before[0]


def _weights(project: Project, name: str) -> bytes:
    return (project.folder / f"models/{name}/model.safetensors").read_bytes()


def check_gate(project: Project) -> None:
    """Check that the gate scores the student that MLflow has as `evaluate` did, and promotes it."""
    project.edit(lenient)
    for command in (("register",), ("promote", "--mode", "enabled", "--json", "verdict.json")):
        done = project.run(*BATON, *command)
        assert done.returncode == 0, done.stdout + done.stderr
    assert "@champion is now" in done.stdout
    verdict = storage.read_json(project.folder / "verdict.json")
    metric = verdict["rules"]["metric"]
    expected = storage.read_json(project.folder / "reports/metrics.json")["student"][metric]
    assert verdict["passed"], verdict["checks"]
    assert verdict["figures"]["challenger"][metric] == pytest.approx(expected, rel=1e-5, abs=1e-6)


def lenient(raw: dict[str, Any]) -> None:
    """Let a first champion be as bad as a tiny model is."""
    raw["promotion"] |= {"class_floor": None, "permanent_floor": None, "max_calibration_error": None}
    raw["promotion"]["first_minimum"] = 1e9 if raw["promotion"]["metric"] == "mae" else 0.0


def check_drift(project: Project, name: str) -> None:
    """Check that `baton drift --predict` finds rows without targets to be unlike the champion's."""
    done = project.run(*BATON, "drift", name, "--predict")
    assert done.returncode == 3, done.stdout + done.stderr
    assert "beyond the limits" in done.stdout
    assert "predicted labels: distance" in done.stdout


def foreign(path: Path, columns: tuple[str, ...] = ("text",), rows: int = 60) -> None:
    """Write a table of texts of unknown words."""
    words = [f"entirely foreign vocabulary item{number} thing{number}" for number in range(rows)]
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns, *zip(*[words] * len(columns), strict=True)])
