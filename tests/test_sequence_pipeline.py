"""The pipeline on texts as targets through real `dvc repro`, killed and resumed, then served.

The source is four words of a docstring, the target the same words in reverse order.
"""

import csv
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from sacrebleu.metrics import CHRF

from baton import storage
from baton.contracts import predictions
from tests.pipeline_checks import check_distillation, check_drift, check_gate, foreign
from tests.test_interrupted import check_kills, longer
from tests.test_pipeline import ROOT, STAGES, Project, check_rerun, copy_code, small, write_docstrings

pytestmark = [pytest.mark.slow, pytest.mark.alone]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    folder = tmp_path_factory.mktemp("sequence") / "project"
    copy_code(folder)
    write_reversed(folder / "inbox")
    shutil.copy(ROOT / "recipes/sequence-csv.yaml", folder / "params.yaml")
    made = Project(folder)
    made.edit(tiny_writer)
    for command in ("init", "add .", "-c user.name=t -c user.email=t@example.org commit -m x"):
        assert made.run("git", *command.split()).returncode == 0
    yield made
    shutil.rmtree(folder)


def write_reversed(folder: Path) -> None:
    write_docstrings(folder / "docstrings.csv")
    with (folder / "docstrings.csv").open(newline="", encoding="utf-8") as file:
        words = [re.findall(r"[a-z]+", row["text"].lower())[:4] for row in csv.DictReader(file)]
    (folder / "docstrings.csv").unlink()
    with (folder / "data.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "target"])
        writer.writerows([" ".join(own), " ".join(reversed(own))] for own in words if own)


def tiny_writer(raw: dict[str, Any]) -> None:
    base, student = raw["base"], raw["distill"]["student"]
    small(raw)
    raw["base"] = base | {"width": 32, "hidden": 64, "heads": 4, "encoder_layers": 2, "decoder_layers": 2}
    raw["base"]["tokenizer"] = {"kind": "byte_pairs", "vocabulary": 400}
    raw["tokenize"]["truncation"] = {"kind": "head"}
    raw["task"] |= {"target_length": 24, "validation_rows": 8, "beams": 2}
    raw["distill"]["student"] = student | {"encoder_layers": [0, 1], "decoder_layers": [1]}
    raw["distill"]["student"].pop("layers", None)


def test_all_seven_stages_run(project: Project) -> None:
    assert project.repro() == STAGES
    task = storage.read_json(project.folder / "models/student/baton.json")["task"]
    assert task == {
        "kind": "sequence",
        "target_length": 24,
        "beams": 2,
        "validation_rows": 8,
        "vocabulary": 400,
        "start": 0,
        "end": 1,
        "unknown": None,
    }
    metrics = storage.read_json(project.folder / "reports/metrics.json")
    _, texts = predictions.read_predictions(project.folder / "data/predictions/student/test.parquet")
    expected = CHRF().corpus_score(list(texts.values), [references(project)]).score / 100
    assert metrics["student"]["chrf"] == pytest.approx(expected, rel=1e-5)
    low, high = metrics["student"]["chrf_interval"]
    assert low <= metrics["student"]["chrf"] <= high
    assert "student_vs_control" in metrics["comparison"]
    assert metrics["recommended"]["model"]
    assert "version:" in metrics["signatures"]["chrf"]
    assert (project.folder / "reports/tables/examples.csv").is_file()


def references(project: Project) -> list[str]:
    return list(pq.read_table(project.folder / "data/clean/test.parquet")["target"].to_pylist())


def test_nothing_runs_again_and_a_forced_rerun_gives_the_same_bytes(project: Project) -> None:
    check_rerun(project)


@pytest.mark.usefixtures("quiet_mlflow")
def test_the_logged_model_writes_the_texts_of_the_predictions(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.folder)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    served = project.served("student")
    rows = pq.read_table("data/clean/test.parquet")["text"].to_pylist()
    answer = served.predict(rows)
    _, texts = predictions.read_predictions(Path("data/predictions/student/test.parquet"))
    assert answer["text"].tolist() == list(texts.values)


def test_the_student_is_taught_and_the_gate_judges_it(project: Project) -> None:
    check_distillation(project)
    check_gate(project)
    foreign(project.folder / "new.csv")
    check_drift(project, "new.csv")


def test_a_training_run_that_is_killed_gives_the_same_bytes(project: Project) -> None:
    project.edit(lambda raw: longer(raw, 6))
    check_kills(project, "finetune", "teacher", kills=5)
    check_kills(project, "distill", "student", kills=5)
