"""Stages in a private copy: what their log ends with."""

from pathlib import Path

from baton.workspace import reproduction


def test_what_a_log_ends_with(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("Running\nerror: no luck\n  got:      13\n  expected: 12\n  next:     x\nERROR: failed\n")
    assert reproduction.said(log) == "error: no luck got:      13 expected: 12"
    log.write_text("a\n\nERROR: failed to reproduce\n")
    assert reproduction.said(log) == "a ERROR: failed to reproduce"
