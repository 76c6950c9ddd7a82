"""The recording of README's way to a project of one's own: its commands, its clock, its format."""

import json
from pathlib import Path

import pytest

from benchmarks import first_minutes
from benchmarks.first_minutes import Event

WIDE = "━" * 3000  # of three bytes each: a read ends within one


def test_the_commands_are_those_of_readme(root: Path) -> None:
    found = first_minutes.block((root / "README.md").read_text(encoding="utf-8"))
    assert found[0] == "make install && . .venv/bin/activate"
    assert found[1:] == [
        f"baton new ../mine --from ~/{first_minutes.TABLE}",
        "cd ../mine",
        "baton repro",
        "baton ui",
    ]


def test_commands_are_shown_and_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "project").mkdir()
    commands = [f"echo {WIDE}", "sleep 0.6", "cat"]
    monkeypatch.setattr(first_minutes, "answers", lambda: True)
    monkeypatch.setattr(first_minutes, "picture", lambda *_: None)  # there is no report
    events = first_minutes.record(commands, tmp_path / "project", tmp_path)
    shown = "".join(event.text for event in events)
    assert shown.count("━") == 6000 and "\ufffd" not in shown
    took = dict(first_minutes.durations(commands, events))
    assert took["sleep 0.6"] >= 0.4 and [*took] == commands
    first_minutes.write_cast(events, tmp_path / "own.cast")
    header, *lines = [json.loads(line) for line in (tmp_path / "own.cast").read_text().splitlines()]
    assert header["version"] == 2 and [Event(line[0], line[2]) for line in lines] == events


def test_a_command_that_fails_is_shown(tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    with pytest.raises(SystemExit, match="no such thing"):
        first_minutes.record(["echo no such thing; false", "cat"], tmp_path / "project", tmp_path)


def test_what_was_drawn_over_is_gone() -> None:
    shown = first_minutes.screen(
        "one\r\n 0% bar\r\x1b[K50% bar\r\nlast\x1b[1A\r\x1b[2Kdone\r\n\x1b[1mend\x1b[0m"
    )
    assert shown == ["one", "done", "endt"]
