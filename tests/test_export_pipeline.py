"""A pipeline that exports: the export is made, tracked, registered, judged, promoted and traced."""

import json
import shutil
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from baton import storage
from tests.pipeline_checks import lenient
from tests.test_pipeline import BATON, STAGES, Project, make_project

pytestmark = pytest.mark.slow

EXPORT = {
    "model": "student",
    "engines": ["onnxruntime"],
    "precisions": ["fp32"],
    "same": 0.99,
    "loss": 0.005,
    "rows": 16,
    "calibration_rows": 16,
    "batch_size": 8,
    "seconds": 0.1,
    "bootstrap": {"resamples": 50, "confidence": 0.95, "seed": 0},
}


def asked(raw: dict[str, Any]) -> None:
    lenient(raw)
    raw["export"] = EXPORT
    raw["promotion"]["model"] = "export"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    made = make_project(tmp_path_factory.mktemp("export") / "project")
    made.edit(asked)
    yield made
    shutil.rmtree(made.folder)


def test_the_export_is_made_and_tracked(project: Project) -> None:
    assert project.repro() == STAGES
    figures = storage.read_json(project.folder / "metrics/export.json")
    assert figures["chosen"] == "onnxruntime fp32" and figures["same"] == 1.0
    assert (project.folder / "models/export/model.onnx").is_file()
    assert not [path for path in (project.folder / "models").iterdir() if "candidates" in path.name]
    done = project.run(*BATON, "sync")
    assert done.returncode == 0 and "unknown" not in done.stdout, done.stdout + done.stderr
    assert project.run(*BATON, "summary").stdout.count("ways to export") == 1


def test_a_forced_rerun_of_the_stage_gives_the_same_bytes(project: Project) -> None:
    assert project.repro() == []
    before = project.digests()
    assert project.repro("--force", "--single-item", "export") == ["export"]
    after = project.digests()
    assert {name for name in before if before[name] != after.get(name)} <= {"reports/export/timings.json"}


def test_it_answers_as_the_student(
    project: Project, monkeypatch: pytest.MonkeyPatch, quiet_mlflow: None
) -> None:
    monkeypatch.chdir(project.folder)
    texts = ["Return the logger of this name.", "An event loop that runs tasks.", "x " * 200]
    ours, theirs = (project.served(name).predict(texts) for name in ("export", "student"))
    assert ours["label"].tolist() == theirs["label"].tolist()
    np.testing.assert_allclose(
        ours.drop(columns="label").to_numpy(), theirs.drop(columns="label").to_numpy(), atol=1e-3
    )


def test_it_is_registered_and_passes_the_gate(project: Project) -> None:
    for command in (("register",), ("promote", "--mode", "enabled", "--json", "verdict.json")):
        done = project.run(*BATON, *command)
        assert done.returncode == 0, done.stdout + done.stderr
    assert "@champion is now" in done.stdout
    verdict = storage.read_json(project.folder / "verdict.json")
    figures = storage.read_json(project.folder / "metrics/export.json")
    metric = verdict["rules"]["metric"]
    assert verdict["figures"]["challenger"][metric] == pytest.approx(figures["export"][metric], rel=1e-5)


def test_its_version_has_the_card_of_its_model_with_a_section_on_the_export(
    project: Project, monkeypatch: pytest.MonkeyPatch, quiet_mlflow: None
) -> None:
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{project.folder}/mlflow.db")
    (registered,) = client.search_registered_models()
    (version,) = client.search_model_versions(f"name='{registered.name}'")
    assert version.tags["baton.model"] == "export" and "Cards: MODEL_CARD.md" in version.description
    assert any(key.startswith("figure.export/test_") for key in version.tags)
    (card,) = (project.folder / "mlartifacts").rglob("registry/*/MODEL_CARD.md")
    text = card.read_text()
    assert "## Export\n\nThis version is the student described above, exported: onnxruntime fp32" in text
    assert "On test 100.00% of its answers are those of the student" in text


def test_it_is_traced_to_its_data_and_its_model(project: Project) -> None:
    done = project.run(*BATON, "trace", "models/export")
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("export", "distill", "finetune", "tokenize", "download"):
        assert name in done.stdout
    assert "no run in this store" not in done.stdout and "champion" in done.stdout
    other = project.run(*BATON, "trace", "models/student")
    assert "export" in other.stdout


def test_without_an_export_nothing_is_missed(project: Project) -> None:
    """Also by `trace` of the student, of which the stage made nothing."""

    def null(raw: dict[str, Any]) -> None:
        raw["export"], raw["promotion"]["model"] = None, "student"

    project.edit(null)
    assert project.repro() == ["export"]
    assert storage.read_json(project.folder / "metrics/export.json") == {}
    done = project.run(*BATON, "sync")
    assert done.returncode == 0 and "export" not in done.stdout, done.stdout
    for target in ("models/student", "HEAD", "models/export"):
        traced = project.run(*BATON, "trace", target)
        assert "no run in this store" not in traced.stdout, target
    project.edit(asked)
    assert project.repro() == [], "from DVC's run-cache"
    assert (project.folder / "models/export/model.onnx").is_file()


def test_another_store_adopts_it(project: Project) -> None:
    for name in ("mlflow.db", "mlartifacts", ".baton/journal"):
        path = project.folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    done = project.run(*BATON, "register")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "export: this store has no run of its models" in done.stdout
    code = (
        "import json, mlflow; client = mlflow.MlflowClient('sqlite:///mlflow.db'); "
        "(one,) = client.search_registered_models(); "
        "(version,) = client.search_model_versions(f\"name='{one.name}'\"); print(json.dumps(version.tags))"
    )
    tags = json.loads(project.run(sys.executable, "-W", "ignore", "-c", code).stdout.splitlines()[-1])
    assert any(key.startswith("figure.export/test_") for key in tags)
