"""A checkout that belongs to another user, as in a container that mounts one: git refuses to read it."""

from pathlib import Path

import pytest

from baton.errors import ParamsError
from baton.tracking import environment
from baton.workspace import commands, private_copy


@pytest.fixture
def foreign(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # git's own switch
    return project


def test_it_is_said_and_recorded_that_there_is_no_commit(
    foreign: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = environment.surroundings()["git"]
    assert "git.commit" not in found and "safe.directory" in found[environment.PROBLEM]
    said = " ".join(capsys.readouterr().out.split())
    assert "no commit is recorded" in said and f"--add safe.directory {foreign}" in said
    assert environment.git_tags(found)[environment.PROBLEM]


def test_commands_that_need_a_commit_say_why_there_is_none(foreign: Path) -> None:
    with pytest.raises(ParamsError, match="belongs to another user"):
        private_copy.head()


def test_nothing_is_said_of_an_own_checkout(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert environment.surroundings()["git"]["git.commit"] and commands.refusal() == ""
    assert capsys.readouterr().out == ""


def test_nothing_is_said_where_there_is_no_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert environment.git() == {} and capsys.readouterr().out == ""
