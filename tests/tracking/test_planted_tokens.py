"""Credentials that lie around a checkout reach neither MLflow, nor logs, reports, git or a run's folders."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from baton import params
from baton.errors import ParamsError
from baton.processes import ending
from baton.workspace import commands, experiments
from tests.tracking.reading import ROOT

TOKEN = "plantedT0ken"  # no words of ours
SECRET = (
    "AWS_SECRET_ACCESS_KEY",
    "MLFLOW_TRACKING_PASSWORD",
    "HF_TOKEN",
    "GITHUB_TOKEN",
    "PIP_INDEX_URL",
)
FILES = (
    ".dvc/config",
    ".dvc/config.local",
    ".env",
    "deploy/.env.production",
    "deploy/Key.PEM",
    "my_credentials.json",
)


def git(*words: str, folder: Path | None = None) -> bytes:
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    return subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True).stdout


@pytest.fixture
def planted(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with tokens in the environment, in uncommitted edits and in the address of its git remote."""
    for name in FILES:
        (project / name).parent.mkdir(exist_ok=True)
        (project / name).write_text("# nothing yet\n")
    git("add", "--force", *FILES)
    git("commit", "--quiet", "--message", "files")
    for name in FILES:
        (project / name).write_text(
            f"[remote]\n    url = https://me:{TOKEN}@example.org\n    key = {TOKEN}\n"
        )
    git("remote", "add", "origin", f"https://me:{TOKEN}@localhost:1/x.git")
    notes = project / "requirements.lock"
    git("add", str(notes))
    git("commit", "--quiet", "--message", "lock", "--", str(notes))
    notes.write_text(notes.read_text() + f"# from https://me:{TOKEN}@example.org/simple\n")
    for name in SECRET:
        monkeypatch.setenv(name, f"https://me:{TOKEN}@example.org" if name.endswith("URL") else TOKEN)
    return project


def found(folder: Path) -> list[str]:
    """Return the files that hold the token, apart from those in which it was planted, and git's objects."""
    planted = {*FILES, "requirements.lock", ".git/config"}
    files = (path for path in folder.rglob("*") if path.is_file())
    names = [path.relative_to(folder).as_posix() for path in files if TOKEN.encode() in path.read_bytes()]
    objects = git("cat-file", "--batch-all-objects", "--batch", folder=folder)
    return [name for name in names if name not in planted] + (["git"] if TOKEN.encode() in objects else [])


@pytest.mark.parametrize("what", ["end", "fail"])
def test_a_stage_records_no_token(planted: Path, what: str) -> None:
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    script = [sys.executable, str(ROOT / "tests/tracking/stage_process.py"), "evaluate", what]
    done = subprocess.run(
        script,
        env={**os.environ, "PYTHONPATH": path, "DVC_ROOT": str(planted)},
        capture_output=True,
        check=False,
    )
    assert (done.returncode == 0) == (what == "end"), done.stderr
    sync = "from baton import tracking; print(tracking.sync())"
    subprocess.run(
        [sys.executable, "-c", sync], env={**os.environ, "PYTHONPATH": path}, capture_output=True, check=True
    )
    assert TOKEN.encode() not in done.stdout + done.stderr
    diffs = list(planted.rglob("uncommitted.diff"))
    assert len(diffs) == 1 and "https://***@example.org/simple" in diffs[0].read_text(), "the check's control"
    assert found(planted) == []


def test_an_experiment_holds_no_token(planted: Path) -> None:
    (planted / "dvc.lock").write_text("x")
    (planted / "params.yaml").write_text((planted / "params.yaml").read_text() + "# edited\n")
    (planted / "requirements.lock").write_text("torch==1\n")
    copy = planted / "copy"
    git("clone", "--quiet", "--shared", str(planted), str(copy))
    for name in (*FILES, "dvc.lock", "params.yaml"):
        (copy / name).parent.mkdir(exist_ok=True)
        (copy / name).write_bytes((planted / name).read_bytes())
    commit = experiments.record(copy, "one", [], "baton compare")
    shown = git("show", commit).decode()
    assert "# edited" in shown and TOKEN not in shown
    assert TOKEN.encode() not in git("cat-file", "--batch-all-objects", "--batch")


def test_gits_own_words_are_shown_without_the_token(planted: Path) -> None:
    """git names the remote's address when it cannot be reached."""
    with pytest.raises(commands.OutputError) as error:
        commands.run("git", "-c", "http.proxy=", "ls-remote", f"http://me:{TOKEN}@localhost:1/x.git")
    assert TOKEN not in str(error.value)


def test_an_error_of_a_library_is_recorded_without_the_token() -> None:
    error = ConnectionError(f"cannot reach https://me:{TOKEN}@example.org/simple")
    assert ending.described(error) == "ConnectionError: cannot reach https://***@example.org/simple"


ADDRESSES = (
    f"http://me:{TOKEN}@example.org",
    f"postgresql://me:{TOKEN}@db/mlflow",
    f"https://{TOKEN}@example.org",
)


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("line", ["# {}", 'other: "{}"', "other: [{{a: '{}'}}]"])
def test_params_with_a_user_or_password_are_refused_without_repeating_it(
    project: Path, address: str, line: str
) -> None:
    path = project / "params.yaml"
    path.write_text(path.read_text() + line.format(address) + "\n")
    with pytest.raises(ParamsError, match="address with a user or a password") as error:
        params.read()
    assert TOKEN not in str(error.value)


def test_an_escaped_address_is_refused_too(project: Path) -> None:
    path = project / "params.yaml"
    path.write_text(path.read_text() + f'other: "http:\\/\\/me:{TOKEN}\\x40example.org"\n')
    with pytest.raises(ParamsError, match="address with a user or a password"):
        params.read()


def test_addresses_without_a_user_are_accepted(project: Path) -> None:
    path = project / "params.yaml"
    path.write_text(path.read_text() + "# https://example.org/@me and me@example.org, hub me/base@0\n")
    params.read()


def test_a_remote_of_dvc_with_a_password_is_refused(planted: Path) -> None:
    """Its address is in .dvc/config, which is committed, and in DVC's messages."""
    from baton.lifecycle.retraining import prerequisites

    subprocess.run([sys.executable, "-m", "dvc", "init", "--quiet", "--force"], check=True)
    add = ("remote", "add", "--default", "own", f"https://me:{TOKEN}@example.org/dvc")
    subprocess.run([sys.executable, "-m", "dvc", *add], check=True, capture_output=True)
    with pytest.raises(ParamsError, match="DVC remotes without a user or a password") as error:
        prerequisites.require(enabled=False, push=False, branch=None)
    assert TOKEN not in str(error.value)
