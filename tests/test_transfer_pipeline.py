"""Ways to transfer through real `dvc repro`: few labels, rows without, several teachers, every strategy."""

import os
import shutil
import signal
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from baton import storage
from baton.contracts import predictions
from tests import tiny
from tests.pipeline_checks import check_distillation
from tests.test_interrupted import check_kills, finish, longer, ours, start
from tests.test_pipeline import BATON, ROOT, STAGES, Project, check_rerun, copy_code, small, write_docstrings

pytestmark = [pytest.mark.slow, pytest.mark.alone]
SHOTS = 12
TFIDF = {"kind": "tfidf", "weight": 1.0, "folds": 3, "min_df": 1, "max_ngram": 2, "stop_words": None}
STRATEGIES: dict[str, dict[str, Any]] = {
    "head": {"kind": "head"},
    "top": {"kind": "top", "layers": 1},
    "gradual": {"kind": "gradual", "decay": 2.6, "until": 0.5},
    "rows": {
        "kind": "rows",
        "rows": [
            {"layers": "head", "rate": 1.0, "unfreeze": 0.0},
            {"layers": "layer.0", "rate": 0.0, "unfreeze": 0.0},
            {"layers": "*", "rate": 0.5, "unfreeze": 0.3},
        ],
    },
    "lora": {"kind": "lora", "rank": 2, "alpha": 4.0, "dropout": 0.1},
    "pairs": {"kind": "pairs", "steps": 40, "learning_rate": 1e-3},
    "auto": {"kind": "auto", "rows": 1000, "folds": 2, "among": [{"kind": "probe"}, {"kind": "full"}]},
}
# The training run that is killed, where it is not the teacher's own.
TRAINING = {"pairs": "teacher_pairs", "auto": "full_fold_1"}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    folder = tmp_path_factory.mktemp("transfer") / "project"
    copy_code(folder)
    write_docstrings(folder / "inbox/data.csv")
    tiny.write_base(folder / "inbox/base")
    shutil.copy(ROOT / "recipes/csv.yaml", folder / "params.yaml")
    made = Project(folder)
    made.edit(lambda raw: (small(raw), few(raw)))
    for command in ("init", "add .", "-c user.name=t -c user.email=t@example.org commit -m x"):
        assert made.run("git", *command.split()).returncode == 0
    yield made
    shutil.rmtree(folder)


def few(raw: dict[str, Any]) -> None:
    raw["preprocess"]["shots"] = SHOTS
    raw["finetune"] |= {"seeds": [0, 1], "keep": "all", "strategy": STRATEGIES["pairs"]}
    teacher = {"kind": "teacher", "seeds": "all", "weight": 1.0}
    raw["distill"]["knowledge"] = [teacher, TFIDF | {"C": [10.0, 100.0]}]
    raw["runtime"]["precision"] = "fp32"


def test_all_seven_stages_run(project: Project) -> None:
    assert project.repro() == STAGES
    folder = project.folder
    report = storage.read_json(folder / "data/clean/report.json")
    metrics = storage.read_json(folder / "reports/metrics.json")
    known = metrics["knowledge"]
    assert known["labelled"] == report["rows"]["clean"]["train"] < known["rows"]
    assert set(known["sources"]) == {"teacher", "tfidf", "mean"}
    for name, own in known["sources"].items():
        low, high = own["accuracy_interval"]
        assert low <= own["accuracy"] <= high, name
    trained = storage.read_json(folder / "metrics/distill.json")
    # The control has the rows with labels, and at least the student's steps.
    assert 0 <= trained["control"]["steps"] - trained["student"]["steps"] < 4
    said = project.run(*BATON, "summary", "--test").stdout
    assert "without; the control from the former" in said and "their mean" in said


def test_the_mean_of_the_sources_is_what_was_written(project: Project) -> None:
    folder = project.folder / "data/predictions/knowledge"
    answers = {
        name: predictions.read_predictions(folder / f"{name}.test.parquet")[1]
        for name in ("teacher", "tfidf", "mean")
    }
    shares = {name: np.exp(np.asarray(own, np.float64)) for name, own in answers.items()}
    assert np.abs((shares["teacher"] + shares["tfidf"]) / 2 - shares["mean"]).max() < 1e-5
    assert np.abs(shares["teacher"] - shares["tfidf"]).max() > 0.05


def test_nothing_runs_again_and_a_forced_rerun_gives_the_same_bytes(project: Project) -> None:
    check_rerun(project)


def test_the_student_is_taught(project: Project) -> None:
    project.edit(lambda raw: (raw["preprocess"].update(shots=None), raw["distill"].update(knowledge=None)))
    project.dvc("repro", "distill")
    check_distillation(project)


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_killed_training_gives_the_same_bytes(project: Project, name: str) -> None:
    # A step of a head alone takes a millisecond: with few, training would end before the kill.
    project.edit(lambda raw: longer(raw, 200 if name == "head" else 20))

    def one(raw: dict[str, Any]) -> None:
        raw["preprocess"]["shots"] = SHOTS
        raw["finetune"] |= {"seeds": [0], "keep": "best", "strategy": STRATEGIES[name]}
        raw["distill"]["knowledge"] = None

    project.edit(one)
    project.dvc("repro", "tokenize")
    check_kills(project, "finetune", "teacher", kills=3, steps=5, training=TRAINING.get(name))


@pytest.mark.parametrize("name", ["probe", "prototypes"])
@pytest.mark.parametrize("seconds", [0.0, 0.1])
def test_a_fitted_head_killed_after_its_features_gives_the_same_bytes(
    project: Project, name: str, seconds: float
) -> None:
    project.edit(lambda raw: raw["finetune"].update(strategy={"kind": name}, epochs=1, log_every=2))
    project.dvc("repro", "tokenize")
    finish(project, "finetune")
    whole = project.digests()
    features = project.folder / ".baton/features"
    shutil.rmtree(features)
    # Another run each time: DVC's run-cache has the outputs of those before.
    project.edit(lambda raw: raw["finetune"].update(log_every=round(7 + 10 * seconds)))
    with start(project, "finetune") as process:
        while not [*features.glob("*/*")]:
            assert process.poll() is None, process.stdout.read() if process.stdout else ""
            time.sleep(0.001)
        time.sleep(seconds)
        for one in ours(project):
            os.kill(one.pid, signal.SIGKILL)
    assert not (project.folder / "metrics/finetune.json").exists(), "the stage ended before it was killed"
    finish(project, "finetune")
    after = project.digests()
    same = [name for name in whole if name.startswith(("models/teacher/", "data/predictions/teacher/"))]
    assert len(same) > 5
    assert [name for name in same if whole[name] != after.get(name)] == []


def test_a_killed_student_of_rows_without_labels_gives_the_same_bytes(project: Project) -> None:
    project.edit(lambda raw: longer(raw, 4))
    check_kills(project, "distill", "student", kills=3, steps=5)


def test_features_are_computed_once_for_all_strategies_that_freeze_the_encoder(project: Project) -> None:
    project.dvc("repro", "tokenize")
    shutil.rmtree(project.folder / ".baton/features", ignore_errors=True)
    for name in ("probe", "prototypes", "head"):
        project.edit(lambda raw, name=name: raw["finetune"].update(strategy={"kind": name}))
        said = project.dvc("repro", "--single-item", "finetune")
        assert ("features of train" in said) is (name == "probe"), said
