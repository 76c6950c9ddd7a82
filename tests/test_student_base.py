"""A student on a base model of its own, with another tokenizer, through real `dvc repro`, and served."""

import csv
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from safetensors import safe_open

from baton import storage
from baton.contracts import predictions
from tests import tiny
from tests.test_pipeline import STAGES, Project, make_project, nodes

pytestmark = [pytest.mark.slow, pytest.mark.alone]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    made = make_project(tmp_path_factory.mktemp("student") / "project")
    tiny.write_base(made.folder / "inbox/small", width=16, layers=3, vocabulary=60)
    made.edit(
        lambda raw: raw.update(
            student_base={"kind": "local", "folder": "inbox/small", "licence": "none"},
            distill=raw["distill"]
            | {"student": {"kind": "base", "layers": [0, 2]}, "features": {"weight": 1.0}},
        )
    )
    yield made
    shutil.rmtree(made.folder)


def test_the_student_reads_its_own_tokens_and_learns_from_the_teachers_answers(project: Project) -> None:
    assert project.repro() == STAGES
    folder = project.folder
    teacher, student = (folder / "data/arrays", folder / "data/arrays/student")
    assert (teacher / "train.ids.parquet").read_bytes() == (student / "train.ids.parquet").read_bytes()
    own, other = (np.load(path / "train.tokens.npy") for path in (student, teacher))
    assert own.max() < 60 <= other.max(), "the tokens are those of each model's own vocabulary"
    config = storage.read_json(folder / "models/student/config.json")
    assert (config["num_hidden_layers"], config["hidden_size"], config["vocab_size"]) == (2, 16, 60)
    for name in ("student", "control"):
        tokenizer = (folder / "models" / name / "tokenizer.json").read_bytes()
        assert tokenizer == (folder / "inbox/small/tokenizer.json").read_bytes()
    with safe_open(folder / "models/student/model.safetensors", "np") as weights:
        assert not any("projection" in name for name in weights.keys())  # noqa: SIM118
    with (folder / "curves/distill.csv").open() as file:
        steps = [row for row in csv.DictReader(file) if row["learning_rate"]]
    for row in steps:
        terms = [row[f"loss_{name}"] for name in ("labels", "soft", "features")]
        if row["model"] == "control":
            assert terms == ["", "", ""]
        else:
            assert sum(map(float, terms)) == pytest.approx(float(row["loss"]), rel=1e-5)
    figures = storage.read_json(folder / "reports/metrics.json")
    assert figures["student"]["parameters"] == figures["control"]["parameters"]
    assert figures["student"]["parameters"] < figures["teacher"]["parameters"] / 2
    assert "student_vs_control" in figures["comparison"]
    ratios = storage.read_json(folder / "reports/timings.json")["ratios"]
    assert ratios["student_vs_teacher"]["throughput"] > 0
    assert project.repro() == []
    command = (
        sys.executable,
        "-c",
        "from baton.cli.app import app; app()",
        "trace",
        "models/student",
        "--json",
    )
    traced = project.run(*command)
    assert traced.returncode == 0, traced.stderr
    files = nodes(json.loads(traced.stdout)["made_of"], "file")
    assert {"model.safetensors", "student/model.safetensors"} <= {file["name"] for file in files}


@pytest.mark.usefixtures("quiet_mlflow")
def test_the_logged_student_answers_as_its_predictions(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.folder)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    served = project.served("student")
    texts = pq.read_table("data/clean/test.parquet")["text"].to_pylist()[:20]
    answer = served.predict(texts).drop(columns="label").to_numpy()
    _, logits = predictions.read_predictions(Path("data/predictions/student/test.parquet"))
    info = storage.read_json(Path("models/student/baton.json"))
    scaled = logits[:20].astype(np.float64) / info.get("fitted", info)["temperature"]
    expected = np.exp(scaled) / np.exp(scaled).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(answer, expected, atol=0.005)  # predictions are in bf16


def test_only_the_student_trains_again_when_its_layers_change(project: Project) -> None:
    project.edit(lambda raw: raw["distill"]["student"].update(layers=None))
    assert project.repro() == ["distill", "evaluate", "export"]
    assert storage.read_json(project.folder / "models/student/config.json")["num_hidden_layers"] == 3
