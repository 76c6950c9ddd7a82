"""A fresh clone runs with any git settings, and names are printed safely."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from baton import console
from baton.errors import DataError, one_line, visible

OURS = (
    ".gitattributes",
    "stages/run",
    "stages/download.py",
    "Makefile",
    "params.yaml",
    "dvc.yaml",
    "dvc.lock",
    "requirements.lock",
)
OWN = {
    "inbox/data.csv": b"text,label\r\na,b\r\n",
    "inbox/picture.png": b"\x89PNG\r\n\x1a\n",
    "docs/picture.png": b"\x89PNG\r\n\x1a\n\r\n",
}


def test_a_clone_with_other_line_ends_is_the_same_to_the_byte(tmp_path: Path, root: Path) -> None:
    origin, clone = tmp_path / "origin", tmp_path / "clone"
    for name in OURS:
        (origin / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / name, origin / name)
    for name, content in OWN.items():
        (origin / name).parent.mkdir(parents=True, exist_ok=True)
        (origin / name).write_bytes(content)
    who = (
        "-c",
        "user.name=a",
        "-c",
        "user.email=a@localhost",
        "-c",
        "core.autocrlf=true",
        "-c",
        "core.safecrlf=false",
    )
    for words in (("init", "--quiet"), ("add", "."), ("commit", "--quiet", "--message", "all")):
        subprocess.run(["git", *who, *words], cwd=origin, check=True, capture_output=True)
    assert not subprocess.run(
        ["git", "check-attr", "eol", "a"], cwd=origin, check=True, capture_output=True
    ).stderr
    subprocess.run(
        ["git", "clone", "--quiet", "-c", "core.autocrlf=true", origin, clone],
        check=True,
        capture_output=True,
    )
    assert b"\r" not in (clone / "stages/run").read_bytes()
    for name in OURS:
        assert (clone / name).read_bytes() == (root / name).read_bytes(), name
    for name, content in OWN.items():
        assert (clone / name).read_bytes() == content, name
    assert subprocess.run(["sh", "-n", "stages/run"], cwd=clone, check=False).returncode == 0


@pytest.mark.parametrize(
    "own",
    [{}, {"TORCHINDUCTOR_CACHE_DIR": "/mine", "TRITON_CACHE_DIR": "/mine/too"}],
    ids=["unset", "the user's"],
)
def test_what_was_compiled_stays_with_the_project(tmp_path: Path, root: Path, own: dict[str, str]) -> None:
    python = tmp_path / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "$TORCHINDUCTOR_CACHE_DIR $TRITON_CACHE_DIR"\n')
    python.chmod(0o755)
    environment = {"DVC_ROOT": str(tmp_path), "PATH": os.defpath} | own
    shown = subprocess.run(
        ["sh", root / "stages/run", "finetune"], env=environment, check=True, capture_output=True, text=True
    ).stdout
    assert shown.split() == (
        list(own.values()) or [f"{tmp_path}/.baton/inductor", f"{tmp_path}/.baton/triton"]
    )


def test_what_cannot_be_seen_is_spelt_out() -> None:
    assert visible("a\x1b[31m\r\x07\u202e\udce9\x9b") == r"a\x1b[31m\r\x07\u202e\udce9\x9b"
    assert visible("ü\n\t漢字 👍🏽 e\u0301 نص") == "ü\n\t漢字 👍🏽 e\u0301 نص"
    assert one_line("a\nb\tc") == r"a\nb\tc"
    assert "\x1b" not in str(DataError("row \x1b[2J", got="\x1b"))


def test_the_console_shows_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    console.say("name\x1b[31m\udce9")
    console.table("labels", ("label", "rows"), [("a\x1b[2Jb\nc", 1)])
    assert r"name\x1b[31m\udce9" in (shown := capsys.readouterr().out)
    assert r"a\x1b[2Jb\nc" in shown and "\x1b" not in shown
