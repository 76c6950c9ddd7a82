"""Everything in inbox/ that DVC cannot hash is named before DVC runs."""

import os
import socket
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from baton.cli import app
from baton.errors import SourceError
from baton.sources import inbox
from baton.workspace import commands
from tests.image_files import put

CONTROLS = "a\x1b[31m\nb.csv"


@pytest.fixture
def own(workplace: Path) -> Path:
    """An inbox that DVC can read: files, folders, links to both, and cycles of folders."""
    put("inbox/other/b.csv", b"text")
    put("inbox/a.csv", b"text")
    put(f"inbox/deep/{CONTROLS}", b"text")
    put("inbox/deep/Icon\r", b"")
    Path("inbox/b.csv").symlink_to("other/b.csv")
    Path("inbox/c.csv").symlink_to(workplace / "inbox/other/b.csv")
    Path("inbox/folder").symlink_to("other")
    Path("inbox/deep/up").symlink_to("..")
    return workplace


def refused() -> str:
    with pytest.raises(SourceError) as caught:
        inbox.check()
    message = str(caught.value)
    assert all(part in message for part in ("got:", "expected:", "next:"))
    return message


def test_files_folders_and_links_to_them_are_fine(own: Path) -> None:
    assert inbox.check() == 8


def test_all_that_cannot_be_read_is_named_at_once(own: Path) -> None:
    Path("inbox/gone.csv").symlink_to("nowhere/x.csv")
    Path("inbox/round.csv").symlink_to("round.csv")
    Path("inbox/deep/first").symlink_to("second")
    Path("inbox/deep/second").symlink_to("first")
    os.mkfifo("inbox/pipe")
    put(os.fsdecode(b"inbox/caf\xe9.csv"), b"text")
    Path("inbox/null").symlink_to("/dev/null")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("inbox/socket")
        message = refused()
    for path, reason in {
        "gone.csv": "a broken link (nowhere/x.csv)",
        "round.csv": "a circular link",
        "deep/first": "a circular link",
        "deep/second": "a circular link",
        "pipe": "a pipe",
        "socket": "a socket",
        "null": "a device",
        r"caf\udce9.csv": "its name is not valid UTF-8",
    }.items():
        assert f"\n    inbox/{path}: {reason}" in message
    assert message.count("\n    ") == 8


def test_names_are_spelt_out_and_counted(own: Path) -> None:
    for number in range(30):
        Path(f"inbox/{CONTROLS}{number:02}").symlink_to("nowhere")
    message = refused()
    assert r"inbox/a\x1b[31m\nb.csv09: a broken link (nowhere)" in message
    assert "… and 20 more" in message


def test_what_may_not_be_read(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put("inbox/closed/a.csv", b"text")
    scan, access = os.scandir, os.access

    def scandir(path: Any) -> Any:
        if os.fspath(path) == "inbox/closed":
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", scandir)  # root can read everything
    monkeypatch.setattr(os, "access", lambda path, mode: access(path, mode) and Path(path).name != "a.csv")
    message = refused()
    assert "inbox/closed: an unreadable folder" in message
    assert "inbox/a.csv: an unreadable file" in message


def test_a_missing_inbox(workplace: Path) -> None:
    assert "got:      nothing" in refused()
    Path("inbox").symlink_to("nowhere")
    assert "got:      a broken link" in refused()
    Path("inbox").unlink()
    put("inbox", b"text")
    assert "got:      a file" in refused()


def test_the_command_and_what_asks_it_first(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from baton.lifecycle.retraining import retrain

    put("dvc.yaml", b"")
    fine = CliRunner().invoke(app.app, ["inbox"])
    assert (fine.exit_code, fine.output) == (0, "")
    Path("inbox/gone.csv").symlink_to("nowhere")
    bad = CliRunner().invoke(app.app, ["inbox"])
    assert bad.exit_code == 1 and "inbox/gone.csv: a broken link" in bad.output
    asked = []
    monkeypatch.setattr(commands, "dvc", lambda *words: asked.append(words))
    assert CliRunner().invoke(app.app, ["repro"]).output == bad.output
    monkeypatch.setattr(retrain, "run", lambda *words: "")
    monkeypatch.setattr(retrain, "dvc", lambda *words: asked.append(words))
    with pytest.raises(SourceError, match="inbox/ contains entries that cannot be used"):
        retrain._why(None, None, None)  # type: ignore[arg-type]
    assert not asked
