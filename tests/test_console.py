"""Console output where there is no terminal."""

import pytest

from baton import console
from baton.errors import DataError


def test_an_error_of_ours_has_no_traceback_and_ends_with_one(capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> None:
        raise DataError("rows.csv has no column [text]", got="a, b", expected="text", hint="name it in params")

    with pytest.raises(SystemExit) as ended:
        console.run(main)
    assert ended.value.code == 1
    shown = capsys.readouterr().err
    assert "rows.csv has no column [text]" in shown and "next:     name it in params" in shown and "Traceback" not in shown


def test_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(ValueError, match="no number"):
        console.run(lambda: int("no number"))


def test_progress_without_a_terminal_is_a_plain_line_with_rate(capsys: pytest.CaptureFixture[str]) -> None:
    with console.progress("tokenize", 10, "documents") as advance:
        advance(4)
        advance(6)
    line = capsys.readouterr().out
    assert line.startswith("tokenize: 10 of 10 documents, ") and "documents/s" in line and "\x1b" not in line


def test_a_table_shows_every_cell(capsys: pytest.CaptureFixture[str]) -> None:
    console.table("figures", ["model", "accuracy"], [["teacher", 0.97], ["[student]", 0.96]])
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("figures", "model", "teacher", "0.97", "[student]"))
