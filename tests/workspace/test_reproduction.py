"""Stages in a private copy: when they are stopped, and what their log ends with."""

import subprocess
import sys
from pathlib import Path

from baton.workspace import reproduction


def test_what_a_log_ends_with(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("Running\nerror: no luck\n  got:      13\n  expected: 12\n  next:     x\nERROR: failed\n")
    assert reproduction.said(log) == "error: no luck got:      13 expected: 12"
    log.write_text("a\n\nERROR: failed to reproduce\n")
    assert reproduction.said(log) == "a ERROR: failed to reproduce"


def started(code: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", code], start_new_session=True)


def test_a_process_is_stopped_when_it_is_enough() -> None:
    looks = iter((False, False, True))
    process = started("import time; time.sleep(600)")
    assert reproduction._ended(process, lambda: next(looks)) is None
    assert process.poll() is not None, "it is gone"
    assert reproduction._ended(started("raise SystemExit(3)"), lambda: False) == 3
    assert reproduction._ended(started("raise SystemExit(3)"), None) == 3
