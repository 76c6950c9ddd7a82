"""Commits come from a server's tags: what is not one never becomes a word of Git's command line."""

import subprocess
from pathlib import Path

import pytest

from baton.lifecycle.tracing import target
from baton.workspace import commands, dvc_graph


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A repository with one commit, whose name is returned, and an edit after it."""
    monkeypatch.chdir(tmp_path)
    Path("dvc.lock").write_text("stages: {}\n")
    Path("src").mkdir()
    Path("src/code.py").write_text("first\n")
    own = ("git", "-c", "user.name=me", "-c", "user.email=me@localhost")
    for words in (("init", "--quiet"), ("add", "."), ("commit", "--quiet", "-m", "first")):
        subprocess.run([*own, *words], check=True)
    Path("src/code.py").write_text("second\n")
    return commands.run("git", "rev-parse", "HEAD").strip()


OPTIONS = [
    "--output=src/code.py",
    "--ext-diff",
    "--no-index",
    "HEAD --output=src/code.py",
    "main",
    "",
    "abc123",
]


@pytest.mark.parametrize("commit", OPTIONS)
def test_an_option_in_place_of_a_commit_writes_nothing(repository: str, commit: str) -> None:
    assert commands.changed_files(commit, "src") == []
    assert dvc_graph.of_commit(commit) is None
    assert Path("src/code.py").read_text() == "second\n"
    assert commands.run("git", "status", "--porcelain") == " M src/code.py\n"


@pytest.mark.parametrize("name", ["--output=src/code.py", "--all", "--git-dir"])
def test_what_is_traced_is_a_name(repository: str, name: str) -> None:
    assert target._commit(name) == ""
    assert target._commit("HEAD") == repository


def test_a_commit_is_compared(repository: str) -> None:
    for known in (repository, "HEAD"):
        assert commands.changed_files(known, "src") == ["src/code.py"]
    graph = dvc_graph.of_commit(repository)
    assert graph is not None and graph.stages == {}
