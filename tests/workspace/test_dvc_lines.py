"""What `baton repro` shows of DVC's lines: the stages and what they print, and every error."""

import subprocess
import sys
from pathlib import Path

import pytest

NEEDLESS = ("lock file", "> echo", "git add", "autostage", "dvc push")
STAGES = """
stages:
  first:
    cmd: echo one
    deps: [a]
  second:
    cmd: {second}
    deps: [a]
"""


def said(module: str, folder: Path, second: str = "echo two") -> str:
    """Return what DVC, run by a module, prints in a new project in a git checkout."""
    folder.mkdir()
    (folder / "a").write_text("a")
    (folder / "dvc.yaml").write_text(STAGES.format(second=second))
    for words in (["git", "init", "--quiet"], [sys.executable, "-m", "dvc", "init", "--quiet"]):
        subprocess.run(words, cwd=folder, check=True)
    ended = subprocess.run(
        [sys.executable, "-m", module, "repro"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert (ended.returncode == 0) == (second == "echo two")
    return ended.stdout + ended.stderr


def test_lines_that_ask_for_nothing_are_left_out(tmp_path: Path) -> None:
    plain = said("dvc", tmp_path / "plain")
    assert all(part in plain for part in NEEDLESS), "otherwise DVC has other words for it"
    quiet = said("baton.workspace.patient_dvc", tmp_path / "quiet")
    assert not [part for part in NEEDLESS if part in quiet]
    assert [line for line in quiet.splitlines() if line] == [
        "Running stage 'first':",
        "one",
        "Running stage 'second':",
        "two",
    ]


@pytest.mark.parametrize(
    ("second", "shown"),
    [
        ("sh -c 'exit 3'", "failed to run: sh -c 'exit 3'"),
        ("echo two\n    outs: [b]", "output 'b' does not exist"),
    ],
)
def test_errors_are_shown(second: str, shown: str, tmp_path: Path) -> None:
    assert shown in said("baton.workspace.patient_dvc", tmp_path / "project", second)
