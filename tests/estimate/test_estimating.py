"""`baton estimate` in a tiny project: real rehearsals, and nothing of the project changes."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from baton import storage
from baton.cli import app
from tests.export.test_stage import SETTINGS
from tests.test_pipeline import BATON, Project

pytestmark = pytest.mark.slow


@pytest.fixture
def project(tokenized: Path, tmp_path: Path) -> Project:
    shutil.copytree(tokenized, tmp_path / "project", symlinks=True)
    return Project(tmp_path / "project")


def tree(folder: Path) -> dict[str, str]:
    """Return the digest of every file but those of git, DVC and the project's state."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    own = [path.relative_to(folder) for path in files]
    hidden = {".git", ".dvc", ".baton", "__pycache__"}
    return {str(path): storage.sha256(folder / path) for path in own if not hidden & set(path.parts)}


def test_estimate_then_run_then_compare(project: Project) -> None:
    before = tree(project.folder)
    done = project.run(*BATON, "estimate")
    assert done.returncode == 0, done.stdout + done.stderr
    assert tree(project.folder) == before
    state = project.folder / ".baton"
    assert [path.name for path in (state / "estimate").iterdir()] == ["lock"], "the scratch folder is gone"
    assert not (state / "checkpoints").exists() and not (project.folder / "mlflow.db").exists()
    kept = storage.read_json(state / "estimate.json")
    stages = kept["stages"]
    assert [stage for stage, own in stages.items() if own["cached"]] == ["download", "preprocess", "tokenize"]
    for stage in ("finetune", "distill", "evaluate"):
        assert stages[stage]["seconds"] > 0 and stages[stage]["memory"] > 0 and stages[stage]["disk"] > 0
    assert project.repro("distill") == ["finetune", "distill"]
    for stage, models in (("finetune", ["teacher"]), ("distill", ["student", "control"])):
        real = storage.read_json(project.folder / f"metrics/{stage}.json")
        for model in models:
            assert stages[stage]["runs"][model]["planned"]["steps"] == real[model]["steps"]
    done = project.run(*BATON, "estimate", "--actual")
    assert done.returncode == 0 and "evaluate: its results were not made" in done.stdout
    done = project.run(*BATON, "estimate")
    assert done.returncode == 0, done.stdout + done.stderr
    stages = storage.read_json(state / "estimate.json")["stages"]
    assert stages["finetune"]["cached"] and stages["distill"]["cached"] and not stages["evaluate"]["cached"]


def test_what_cannot_be_timed_is_said_and_the_rest_is_estimated(project: Project) -> None:
    def edit(raw: dict[str, Any]) -> None:
        raw["finetune"]["strategy"], raw["export"] = {"kind": "probe"}, dict(SETTINGS)

    project.edit(edit)
    done = project.run(*BATON, "estimate")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "finetune is not estimated: strategy probe" in done.stdout
    assert "export is not estimated: " in done.stdout and "at least" in done.stdout
    stages = storage.read_json(project.folder / ".baton/estimate.json")["stages"]
    assert stages["distill"]["seconds"] > 0 and stages["evaluate"]["seconds"] > 0


def test_without_the_data_one_error_says_what_to_run(project: Project) -> None:
    project.edit(lambda raw: raw["tokenize"].update(max_length=16))
    done = project.run(*BATON, "estimate")
    assert done.returncode == 1 and "dvc repro tokenize" in done.stderr and "Traceback" not in done.stderr
    assert not (project.folder / ".baton/estimate.json").exists()


def test_without_an_estimate_there_is_nothing_to_compare(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.folder)
    done = CliRunner().invoke(app.app, ["estimate", "--actual"])
    assert done.exit_code == 1
    assert "run `baton estimate` before `dvc repro`" in done.output + str(done.stderr)
