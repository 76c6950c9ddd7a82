"""DVC's digests, and the files behind a changed folder."""

import subprocess
import sys
from pathlib import Path

import pytest

from baton.workspace import commands, dvc_files, dvc_graph

CHECKOUT = Path(__file__).parents[2]
AUTHOR = ("-c", "user.name=t", "-c", "user.email=t@example.org")


def git(*words: str) -> None:
    subprocess.run(["git", *AUTHOR, *words], check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with one stage that depends on a folder of code; run and committed."""
    monkeypatch.chdir(tmp_path)
    Path("src/code/deep/deeper").mkdir(parents=True)
    for name, text in {
        "src/code/a.py": "1\n",
        "src/code/deep/b.py": "2\n",
        "src/code/deep/deeper/ä.py": "3\n",
        "src/code/deep-c.py": "4\n",
    }.items():
        Path(name).write_text(text)
    Path("src/code/deep/__pycache__").mkdir()
    Path("src/code/deep/__pycache__/b.pyc").write_text("5")
    Path("dvc.yaml").write_text("stages: {made: {cmd: cp src/code/a.py out, deps: [src/code], outs: [out]}}")
    Path(".dvcignore").write_bytes((CHECKOUT / ".dvcignore").read_bytes())
    Path(".gitignore").write_text("__pycache__/\n/out\n")
    git("init", "--quiet")
    for words in (["init", "--quiet"], ["repro", "--quiet"]):
        subprocess.run([sys.executable, "-m", "dvc", *words], check=True)
    git("add", ".")
    git("commit", "--quiet", "--message", "made")
    return tmp_path


def test_digests_are_those_that_dvc_writes(checkout: Path) -> None:
    lock = dvc_files.read_lock()["made"]
    assert dvc_files.md5(Path("src/code")) == lock["deps"]["src/code"]
    assert dvc_files.md5(Path("out")) == lock["outs"]["out"]
    assert dvc_files.md5(Path("nothing")) == ""
    Path("src/code/deep/__pycache__/b.pyc").write_text("6")
    assert dvc_files.md5(Path("src/code")) == lock["deps"]["src/code"]
    Path("src/code/deep/deeper/ä.py").write_text("7")
    assert dvc_files.md5(Path("src/code")) != lock["deps"]["src/code"]


def test_the_file_that_changed_is_named(checkout: Path) -> None:
    assert list(dvc_graph.moved("made")) == []
    Path("src/code/deep/deeper/ä.py").write_text("7")
    Path("src/code/new.py").write_text("8")
    assert commands.changed_files("HEAD", "src/code") == ["src/code/deep/deeper/ä.py", "src/code/new.py"]
    (told,) = dvc_graph.moved("made")
    assert told == (
        "since made ran, deps no longer match dvc.lock: "
        "src/code modified (src/code/deep/deeper/ä.py, src/code/new.py)"
    )
    git("add", ".")
    git("commit", "--quiet", "--message", "edited")  # the lock is older: they still changed since
    assert "ä.py, src/code/new.py" in next(dvc_graph.moved("made"))
    assert commands.changed_files("", "src/code") == []
    assert commands.changed_files("0" * 40, "src/code") == []
