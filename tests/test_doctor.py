"""`baton doctor`: each thing that a run needs is looked at, and what is wrong has a line on what to do."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from baton.cli import app, doctor

ROOT = Path(__file__).parent.parent
DVC = (sys.executable, "-m", "dvc")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a committed project with a DVC remote that is there; it is the working directory."""
    made = tmp_path / "project"
    made.mkdir()
    for name in ("params.yaml", "dvc.yaml", "requirements.lock", ".gitignore"):
        shutil.copy(ROOT / name, made)
    (tmp_path / "remote").mkdir()
    for words in (
        ("git", "init", "--quiet", "--initial-branch", "main"),
        (*DVC, "init", "--quiet"),
        (*DVC, "remote", "add", "--quiet", "--default", "store", "../remote"),
        ("git", "add", "."),
        ("git", "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "--quiet", "-m", "x"),
    ):
        subprocess.run(words, cwd=made, check=True)
    monkeypatch.chdir(made)
    monkeypatch.setattr(doctor, "TRAINS", 1.0)  # bytes: tests run on any machine
    monkeypatch.delenv("BATON_TRACKING", raising=False)
    return made


def examined(code: int) -> dict[str, str]:
    """Return what the command prints about each subject."""
    result = CliRunner().invoke(app.app, ["doctor"], catch_exceptions=False)
    assert result.exit_code == code, result.output
    found, subject = dict[str, str](), ""
    for line in result.output.splitlines():
        subject = line[7:17].strip() or subject
        found[subject] = " ".join(f"{found.get(subject, '')} {line[:7]} {line[18:]}".split())
    assert list(found) == list(doctor.LOOKS)
    return found


def test_a_sound_project(project: Path) -> None:
    before = {path for path in project.rglob("*") if ".git" not in path.parts}
    found = examined(0)
    assert "wrong" not in "".join(found.values())
    assert "packages as in requirements.lock" in found["packages"]
    assert found["git"].startswith("ok ") and found["git"].endswith(" on main")
    assert f"store answers: {project.parent / 'remote'}" in found["DVC remote"]
    assert "mlflow.db will be made by the first run" in found["MLflow"]
    after = {path for path in project.rglob("*") if ".git" not in path.parts}
    assert {path for path in after - before if ".dvc" not in path.parts} == set(), "nothing is made"


def test_other_packages_than_those_of_the_lock(project: Path) -> None:
    text = (project / "requirements.lock").read_text()
    (project / "requirements.lock").write_text(
        text.replace("\ntorch==", "\ntorch==0.0+").replace("\ntyper==", "\nnot-a-package==1.0\ntyper==")
    )
    found = examined(1)["packages"]
    assert "wrong not as in requirements.lock" in found and "`make install`" in found
    assert "torch 2." in found and "not-a-package missing (locked: 1.0)" in found


def test_params_that_are_not_valid(project: Path) -> None:
    (project / "params.yaml").write_text("finetune: 1\n")
    found = examined(1)
    assert "wrong params.yaml: " in found["params"] and "baton recipes" in found["params"]
    assert "wrong" in found["MLflow"], "whose address params.yaml has"
    assert found["git"].startswith("ok ") and found["git"].endswith("1 files with changes")


def test_a_remote_that_is_not_mounted(project: Path) -> None:
    (project.parent / "remote").rmdir()
    assert "remote does not exist" in examined(1)["DVC remote"]
    subprocess.run([*DVC, "remote", "remove", "--quiet", "store"], cwd=project, check=True)
    assert "note none: outputs are on this disk alone `dvc remote add" in examined(0)["DVC remote"]


def test_git(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subprocess.run(["git", "checkout", "--quiet", "--detach"], cwd=project, check=True)
    assert "HEAD is detached `baton retrain` then needs --branch" in examined(0)["git"]
    bare = tmp_path / "no_commit"
    shutil.copytree(project, bare, ignore=shutil.ignore_patterns(".git"))
    monkeypatch.chdir(bare)
    assert "wrong no commit `git init" in examined(1)["git"]


def test_a_server_that_does_not_answer_and_journals_that_wait(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    text = (project / "params.yaml").read_text()
    (project / "params.yaml").write_text(text.replace("  uri: null", "  uri: http://127.0.0.1:9"))
    found = examined(1)["MLflow"]
    assert "wrong the MLflow store cannot be used" in found and "is the server up" in found
    monkeypatch.setenv("BATON_TRACKING", "off")
    assert "note off: runs are not recorded" in examined(0)["MLflow"]


def test_what_is_not_installed_is_a_finding(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise ImportError("No module named 'torch'")

    monkeypatch.setitem(doctor.LOOKS, "GPU", broken)
    assert "wrong No module named 'torch' `make install`" in examined(1)["GPU"]
