"""A small project with git and DVC."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

AUTHOR = ("-c", "user.name=t", "-c", "user.email=t@example.org")


def git(*words: str) -> str:
    return subprocess.run(["git", *AUTHOR, *words], check=True, capture_output=True, text=True).stdout


def dvc(*words: str, folder: Path | None = None) -> str:
    command = [sys.executable, "-m", "dvc", *words]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def project(tmp_path: Path, committed: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with one stage, whose metrics git keeps; committed, not run; the working directory."""
    shutil.copytree(committed, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    return tmp_path / "project"


@pytest.fixture(scope="session")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("committed")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make()
    return folder


def make() -> None:
    Path("src").mkdir()
    Path("inbox").mkdir()
    Path("src/code.sh").write_text("cat inbox/data params.yaml > out; echo '{\"a\": 1}' > metrics.json\n")
    Path("inbox/data").write_text("rows\n")
    Path("README").write_text("read\n")
    Path("params.yaml").write_text("# how\nmade: {rate: 1}\n")
    Path("dvc.yaml").write_text(
        "stages: {made: {cmd: sh src/code.sh, deps: [src/code.sh, inbox], params: [made], outs: [out], "
        "metrics: [{metrics.json: {cache: false}}]}}\n"
    )
    Path(".gitignore").write_text("/out\n.baton/\n")
    Path(".dvcignore").write_text(".baton/\n")
    git("init", "--quiet")
    dvc("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "--message", "first")
