"""The pipeline on pairs of texts through real `dvc repro`, killed and resumed, then served.

A pair is the first line of a docstring and the rest of it, or the rest of another one.
"""

import csv
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from baton import storage
from baton.contracts import predictions
from tests import tiny
from tests.pipeline_checks import check_distillation
from tests.test_interrupted import check_kills, longer
from tests.test_pipeline import BATON, ROOT, STAGES, Project, check_rerun, copy_code, small, write_docstrings

pytestmark = [pytest.mark.slow, pytest.mark.alone]
Pairs = list[list[str]]


def write_pairs(path: Path) -> None:
    """Write pairs from the docstrings in a file of texts: label `same` for the first half, then `other`."""
    with path.open(newline="", encoding="utf-8") as file:
        cut = [row["text"].partition("\n\n") for row in csv.DictReader(file)]
    whole = [(first, rest) for first, _, rest in cut if rest.strip()]
    others = [rest for _, rest in whole[7:] + whole[:7]]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["first", "rest", "label"])
        writer.writerows((*pair, "same") for pair in whole)
        writer.writerows((first, rest, "other") for (first, _), rest in zip(whole, others, strict=True))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    folder = tmp_path_factory.mktemp("pairs") / "project"
    copy_code(folder)
    write_docstrings(folder / "inbox/data.csv")
    write_pairs(folder / "inbox/data.csv")
    tiny.write_base(folder / "inbox/base")
    shutil.copy(ROOT / "recipes/csv.yaml", folder / "params.yaml")
    made = Project(folder)
    made.edit(lambda raw: (small(raw), of_pairs(raw)))
    for command in ("init", "add .", "-c user.name=t -c user.email=t@example.org commit -m x"):
        assert made.run("git", *command.split()).returncode == 0
    yield made
    shutil.rmtree(folder)


def of_pairs(raw: dict[str, Any]) -> None:
    raw["preprocess"] |= {"text_column": "first", "text_pair_column": "rest"}
    raw["distill"]["teacher"] = "live"
    for section in ("finetune", "distill"):
        raw[section]["augmentation"] = {"delete": 0.1, "swap": 0.1, "mask": 0.1, "mixup": 0.0}
    raw["runtime"] |= {"packing": True, "precision": "fp32"}  # as served
    raw["promotion"] |= {"first_minimum": 0.0, "class_floor": None, "permanent_floor": None}


def table(project: Project, split: str) -> pd.DataFrame:
    return pq.read_table(project.folder / f"data/clean/{split}.parquet").to_pandas()


def test_all_seven_stages_run(project: Project) -> None:
    assert project.repro() == STAGES
    folder = project.folder
    assert storage.read_json(folder / "models/student/baton.json")["input"]["pair"] is True
    assert set(np.load(folder / "data/arrays/train.types.npy").tolist()) == {0, 1}
    metrics = storage.read_json(folder / "reports/metrics.json")
    assert {"student", "control", "tfidf_svm"} <= set(metrics) and "student_vs_control" in metrics[
        "comparison"
    ]
    with (folder / "reports/tables/errors.csv").open(newline="", encoding="utf-8") as file:
        assert all("\u241f" in row["text"] for row in csv.DictReader(file) if len(row["text"]) < 80)


def test_nothing_runs_again_and_a_forced_rerun_gives_the_same_bytes(project: Project) -> None:
    check_rerun(project)


@pytest.mark.usefixtures("quiet_mlflow")
def test_the_logged_model_answers_pairs_as_the_predictions_do(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.folder)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    assert project.run(*BATON, "sync").returncode == 0  # a busy machine may have left it to this
    served, rows = project.served("student"), table(project, "test")
    frame = rows[["text", "text_pair"]]
    answer = served.predict(frame)
    _, logits = predictions.read_predictions(Path("data/predictions/student/test.parquet"))
    temperature = storage.read_json(Path("models/student/baton.json"))["fitted"]["temperature"]
    expected = np.exp(logits.astype(np.float64) / temperature)
    expected /= expected.sum(axis=1, keepdims=True)
    served_p = answer.drop(columns="label").to_numpy()
    np.testing.assert_allclose(served_p, expected, atol=1e-5)
    pairs = frame.to_numpy().tolist()
    for same in (pairs, frame[["text_pair", "text"]]):
        np.testing.assert_allclose(served.predict(same).drop(columns="label").to_numpy(), served_p, atol=1e-6)
    swapped = served.predict([pair[::-1] for pair in pairs]).drop(columns="label").to_numpy()
    assert np.abs(swapped - served_p).max() > 1e-4, "negative control: the order of a pair matters"


@pytest.mark.usefixtures("quiet_mlflow")
def test_the_gate_scores_and_drift_compares_both_texts(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.folder)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    for command in (("register",), ("promote", "--mode", "enabled")):
        done = project.run(*BATON, *command)
        assert done.returncode == 0, done.stdout + done.stderr
    train = table(project, "train")[["text", "text_pair"]].set_axis(["first", "rest"], axis=1)
    other = train.assign(rest=[f"entirely foreign vocabulary item{n} thing{n}" for n in range(len(train))])
    other.to_csv("new.csv", index=False)
    done = project.run(*BATON, "drift", "new.csv", "--predict")
    rows = len({*map(tuple, other.to_numpy())})
    assert re.search(rf"^{rows} rows of .*new\.csv are not in", done.stdout), done.stdout + done.stderr
    assert "beyond the limits" in done.stdout and "predicted labels" in done.stdout
    train.to_csv("old.csv", index=False)
    done = project.run(*BATON, "drift", "old.csv")
    assert re.search(r"^0 rows of .*old\.csv are not in", done.stdout), done.stdout + done.stderr


def test_the_student_is_taught(project: Project) -> None:
    check_distillation(project)


def test_a_training_run_that_is_killed_gives_the_same_bytes(project: Project) -> None:
    project.edit(lambda raw: longer(raw, 20))
    check_kills(project, "finetune", "teacher", kills=5, steps=5)
    check_kills(project, "distill", "student", kills=5, steps=5)
