"""A project with an empty store; its tables are created once for all tests."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tracking.reading import ROOT, settle, write_model


@pytest.fixture(autouse=True)
def _quiet(quiet_mlflow: None) -> Iterator[None]:
    """Every test here uses mlflow; no thread of a stage outlives its test."""
    yield
    settle()


@pytest.fixture
def project(tmp_path: Path, database: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with params, requirements, a git checkout and an empty store, as the working directory."""
    folder = tmp_path / "project"
    folder.mkdir()
    shutil.copy(database, folder / "mlflow.db")
    for name in ("params.yaml", "requirements.lock"):
        shutil.copy(ROOT / name, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"]
    for words in (["init", "-q"], ["add", "params.yaml"], ["commit", "-q", "-m", "first"]):
        subprocess.run(["git", *who, *words], check=True)
    return folder


@pytest.fixture
def teacher(project: Path) -> Path:
    """A model folder of a tiny random teacher."""
    return write_model(project / "models" / "teacher", seed=1)
