"""The pipeline on texts with two numbers through real `dvc repro`, killed and resumed, then served.

The numbers say how many words a docstring has and which share of its letters are vowels.
"""

import csv
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from baton import storage
from baton.contracts import predictions
from tests import tiny
from tests.pipeline_checks import check_distillation, check_drift, check_gate, foreign
from tests.test_interrupted import check_kills, longer
from tests.test_pipeline import ROOT, STAGES, Project, check_rerun, copy_code, small, write_docstrings

pytestmark = [pytest.mark.slow, pytest.mark.alone]
NAMES = ("words", "vowels")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    folder = tmp_path_factory.mktemp("numbers") / "project"
    copy_code(folder)
    write_docstrings(folder / "inbox/classes.csv")
    with (folder / "inbox/classes.csv").open(newline="", encoding="utf-8") as file:
        texts = [row["text"] for row in csv.DictReader(file)]
    with (folder / "inbox/data.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", *NAMES])
        for text in texts:
            share = sum(letter in "aeiou" for letter in text.lower()) / len(text)
            writer.writerow([text, len(text.split()), f"{share:.4f}"])
    (folder / "inbox/classes.csv").unlink()
    tiny.write_base(folder / "inbox/base")
    shutil.copy(ROOT / "recipes/numbers-csv.yaml", folder / "params.yaml")
    made = Project(folder)
    made.edit(small)
    made.edit(two_numbers)
    for command in ("init", "add .", "-c user.name=t -c user.email=t@example.org commit -m x"):
        assert made.run("git", *command.split()).returncode == 0
    yield made
    shutil.rmtree(folder)


def two_numbers(raw: dict[str, Any]) -> None:
    raw["preprocess"]["label_column"] = list(NAMES)
    raw["promotion"]["metric"] = "mae"
    raw["runtime"]["precision"] = "fp32"  # as served


def test_all_seven_stages_run(project: Project) -> None:
    assert project.repro() == STAGES
    task = storage.read_json(project.folder / "data/clean/task.json")
    assert (task["kind"], task["names"]) == ("numbers", list(NAMES))
    assert storage.read_json(project.folder / "models/student/baton.json")["task"] == task
    metrics = storage.read_json(project.folder / "reports/metrics.json")
    true, found = truth(project), predicted(project, task)
    own = metrics["student"]
    scale = np.array(task["scale"])  # errors of several numbers count in deviations of train
    assert own["mae"] == pytest.approx(mean_absolute_error(true / scale, found / scale), rel=1e-5)
    for place, name in enumerate(NAMES):
        one, other = true[:, place], found[:, place]
        assert own["numbers"][name]["rmse"] == pytest.approx(root_mean_squared_error(one, other), rel=1e-5)
        assert own["numbers"][name]["r2"] == pytest.approx(r2_score(one, other), rel=1e-4)
        assert own["numbers"][name]["spearman"] == pytest.approx(spearmanr(one, other).statistic, rel=1e-4)
    low, high = own["mae_interval"]
    assert low <= own["mae"] <= high
    assert "student_vs_control" in metrics["comparison"] and metrics["recommended"]["model"]
    assert metrics["test"]["baselines"] == ["median", "mean", "tfidf_ridge"]


def truth(project: Project) -> NDArray[np.float64]:
    import pyarrow.parquet as pq

    return np.array(pq.read_table(project.folder / "data/clean/test.parquet")["numbers"].to_pylist())


def predicted(project: Project, task: dict[str, Any]) -> NDArray[np.float64]:
    _, logits = predictions.read_predictions(project.folder / "data/predictions/student/test.parquet")
    return np.array(task["centre"]) + np.array(task["scale"]) * logits.astype(np.float64)


def test_nothing_runs_again_and_a_forced_rerun_gives_the_same_bytes(project: Project) -> None:
    check_rerun(project)


@pytest.mark.usefixtures("quiet_mlflow")
def test_the_logged_model_answers_with_the_numbers_of_the_predictions(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.folder)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    import pyarrow.parquet as pq

    served, info = project.served("student"), storage.read_json(Path("models/student/baton.json"))
    texts = pq.read_table("data/clean/test.parquet")["text"].to_pylist()
    answer = served.predict(texts)
    assert list(answer) == [f"{name}{end}" for name in NAMES for end in ("", "_low", "_high")]
    expected = predicted(project, info["task"])
    for place, (name, half) in enumerate(zip(NAMES, info["fitted"]["quantiles"], strict=True)):
        near = 1e-5 * info["task"]["scale"][place]
        np.testing.assert_allclose(answer[name], expected[:, place], atol=near)
        np.testing.assert_allclose(answer[f"{name}_high"] - answer[name], half)
        np.testing.assert_allclose(answer[name] - answer[f"{name}_low"], half)


def test_the_student_is_taught_and_the_gate_judges_it(project: Project) -> None:
    check_distillation(project)
    check_gate(project)
    foreign(project.folder / "new.csv")
    check_drift(project, "new.csv")


def test_a_training_run_that_is_killed_gives_the_same_bytes(project: Project) -> None:
    project.edit(lambda raw: longer(raw, 12))
    check_kills(project, "finetune", "teacher", kills=5)
    check_kills(project, "distill", "student", kills=5)
