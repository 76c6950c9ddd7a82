"""The pipeline on texts with any number of labels through real `dvc repro`, killed and resumed, then served.

The labels say which words a docstring has; some have none.
"""

import csv
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import f1_score

from baton import storage
from baton.contracts import predictions
from tests import tiny
from tests.pipeline_checks import check_distillation, check_drift, check_gate, foreign
from tests.test_interrupted import check_kills, longer
from tests.test_pipeline import ROOT, STAGES, Project, check_rerun, copy_code, small, write_docstrings

pytestmark = [pytest.mark.slow, pytest.mark.alone]
WORDS = ("file", "message", "return", "value")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    folder = tmp_path_factory.mktemp("labels") / "project"
    copy_code(folder)
    write_docstrings(folder / "inbox/classes.csv")
    with (folder / "inbox/classes.csv").open(newline="", encoding="utf-8") as file:
        texts = [row["text"] for row in csv.DictReader(file)]
    with (folder / "inbox/data.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "labels"])
        writer.writerows([text, "|".join(word for word in WORDS if word in text.lower())] for text in texts)
    (folder / "inbox/classes.csv").unlink()
    tiny.write_base(folder / "inbox/base")
    shutil.copy(ROOT / "recipes/labels-csv.yaml", folder / "params.yaml")
    made = Project(folder)
    made.edit(lambda raw: (small(raw), own(raw)))
    for command in ("init", "add .", "-c user.name=t -c user.email=t@example.org commit -m x"):
        assert made.run("git", *command.split()).returncode == 0
    yield made
    shutil.rmtree(folder)


def own(raw: dict[str, Any]) -> None:
    raw["runtime"]["precision"] = "fp32"  # as served
    for section in ("finetune", "distill"):
        raw[section]["class_weights"] = "balanced"
    raw["finetune"]["augmentation"] = {"delete": 0.1, "swap": 0.1, "mask": 0.1, "mixup": 0.2}


def test_all_seven_stages_run(project: Project) -> None:
    assert project.repro() == STAGES
    task = {"kind": "labels", "names": list(WORDS)}
    assert storage.read_json(project.folder / "data/clean/task.json") == task
    assert storage.read_json(project.folder / "models/student/baton.json")["task"] == task
    metrics = storage.read_json(project.folder / "reports/metrics.json")
    _, logits = predictions.read_predictions(project.folder / "data/predictions/student/test.parquet")
    own = fitted_values(project, "student")
    predicted = own["p"](logits) >= own["thresholds"]
    assert len(own["thresholds"]) == len(WORDS) and set(own["thresholds"]) != {0.5}
    expected = f1_score(truth(project), predicted, average="micro", zero_division=0)
    assert metrics["student"]["micro_f1"] == pytest.approx(expected, abs=1e-6)
    low, high = metrics["student"]["micro_f1_interval"]
    assert low <= metrics["student"]["micro_f1"] <= high
    assert "student_vs_control" in metrics["comparison"] and metrics["recommended"]["model"]


def fitted_values(project: Project, name: str) -> dict[str, Any]:
    """Return what was fitted on validation, and the function from logits to probabilities."""
    own: dict[str, Any] = storage.read_json(project.folder / f"models/{name}/baton.json")["fitted"]
    return own | {"p": lambda logits: 1 / (1 + np.exp(-logits.astype(np.float64) / own["temperature"]))}


def truth(project: Project) -> np.ndarray:
    import pyarrow.parquet as pq

    rows = pq.read_table(project.folder / "data/clean/test.parquet")["labels"].to_pylist()
    assert any(not row for row in rows), "rows without labels are rows too"
    return np.array([[place in row for place in range(len(WORDS))] for row in rows])


def test_nothing_runs_again_and_a_forced_rerun_gives_the_same_bytes(project: Project) -> None:
    check_rerun(project)


@pytest.mark.usefixtures("quiet_mlflow")
def test_the_logged_model_answers_with_the_labels_of_the_predictions(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.folder)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    import pyarrow.parquet as pq

    served = project.served("student")
    texts = pq.read_table("data/clean/test.parquet")["text"].to_pylist()
    answer = served.predict(texts)
    _, logits = predictions.read_predictions(Path("data/predictions/student/test.parquet"))
    own = fitted_values(project, "student")
    expected = own["p"](logits)
    served_p = answer.drop(columns="labels").to_numpy()
    np.testing.assert_allclose(served_p, expected, atol=1e-5)
    assert [json.loads(cell) for cell in answer["labels"]] == [
        [word for word, p, t in zip(WORDS, row, own["thresholds"], strict=True) if p >= t] for row in served_p
    ]


def test_the_student_is_taught_and_the_gate_judges_it(project: Project) -> None:
    check_distillation(project)
    check_gate(project)
    foreign(project.folder / "new.csv")
    check_drift(project, "new.csv")


def test_a_training_run_that_is_killed_gives_the_same_bytes(project: Project) -> None:
    project.edit(lambda raw: longer(raw, 12))
    check_kills(project, "finetune", "teacher", kills=5)
    check_kills(project, "distill", "student", kills=5)
