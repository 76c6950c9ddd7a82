"""Console output without a terminal."""

import io
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console
from rich.markup import escape

from baton import console
from baton.errors import DataError


def test_an_error_of_ours_has_no_traceback_and_ends_with_one(capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> None:
        raise DataError(
            "rows.csv has no column [text]", got="a, b", expected="text", hint="name it in params"
        )

    with pytest.raises(SystemExit) as ended:
        console.run(main)
    assert ended.value.code == 1
    shown = capsys.readouterr().err
    assert (
        "rows.csv has no column [text]" in shown
        and "next:     name it in params" in shown
        and "Traceback" not in shown
    )


def test_a_warning_takes_any_text(capsys: pytest.CaptureFixture[str]) -> None:
    """Gloo's errors begin with its source path in brackets, which is not rich markup."""
    text = (
        "[/__w/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:539] "
        "Connection closed by peer [127.0.0.1]:39542"
    )
    console.warn("checkpoint", RuntimeError(text))
    assert " ".join(capsys.readouterr().out.split()) == f"checkpoint: {text}"


def test_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(ValueError, match="not a number"):
        console.run(lambda: int("not a number"))


def test_progress_without_a_terminal_is_a_plain_line_with_rate(capsys: pytest.CaptureFixture[str]) -> None:
    with console.progress("tokenize", 10, "documents") as advance:
        advance(4)
        advance(6)
    line = capsys.readouterr().out
    assert line.startswith("tokenize: 10 of 10 documents, ") and "documents/s" in line and "\x1b" not in line


def test_of_lines_that_come_soon_after_another_those_that_matter_and_the_last_are_printed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with console.sparing() as show:
        for number in range(6):
            show(f"line {number}", number in {1, 3})
    assert capsys.readouterr().out.split("\n") == ["line 0", "line 1", "line 3", "line 5", ""]


def test_the_last_line_is_printed_also_if_an_error_follows(capsys: pytest.CaptureFixture[str]) -> None:
    def loop() -> None:
        with console.sparing() as show:
            show("epoch 1", False)
            show("epoch 2", False)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loop()
    assert capsys.readouterr().out.split("\n") == ["epoch 1", "epoch 2", ""]


def test_a_table_shows_every_cell(capsys: pytest.CaptureFixture[str]) -> None:
    console.table("figures", ["model", "accuracy"], [["teacher", 0.97], ["[student]", 0.96]])
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("figures", "model", "teacher", "0.97", "[student]"))


def test_silence_leaves_only_errors(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "_console", console._console)  # restored afterwards
    console.silence()
    console.say("a word")
    console.table("figures", ["model"], [["teacher"]])
    with console.progress("train", 1, "samples") as advance:
        advance(1)

    def main() -> None:
        raise DataError("a row is broken")

    with pytest.raises(SystemExit):
        console.run(main)
    shown = capsys.readouterr()
    assert shown.out == "" and "error: a row is broken" in shown.err


def test_sigterm_ends_with_143_and_a_second_one_does_not_disturb_that() -> None:
    cleaned = []

    def main() -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            signal.raise_signal(signal.SIGTERM)
            cleaned.append(True)

    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit) as ended:
            console.run(main)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert ended.value.code == 143 and cleaned


def test_what_an_earlier_attempt_did_is_no_part_of_the_rate(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 0.0, 10.0, 10.0])
    monkeypatch.setattr(console.time, "monotonic", lambda: next(clock))
    with console.progress("train", 2000, "samples") as advance:
        advance(900, worked=False)
        advance(100)
    shown = capsys.readouterr().out
    assert "1,000 of 2,000 samples, 10.0 samples/s, 100 s left" in shown


def test_a_long_time_left_is_in_minutes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 10.0, 10.0])
    monkeypatch.setattr(console.time, "monotonic", lambda: next(clock))
    with console.progress("train", 40_000, "samples") as advance:
        advance(100)
    assert "10.0 samples/s, 67 min left" in capsys.readouterr().out


@pytest.mark.parametrize("width", [40, 60, 80, 160])
def test_names_and_figures_of_a_table_are_whole_whatever_the_width(
    width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three baselines of images with texts were all shown as `features_lin…`."""
    monkeypatch.setattr(console, "_console", Console(width=width))
    names = ["features_linear", "features_linear_image", "features_linear_text"]
    columns = [f"a long figure {number}" for number in range(16)]
    cells = [[f"{row}.{place:02} to 45.6" for place in range(16)] for row in range(3)]
    console.table(
        "too wide", ["model", *columns], [[name, *own] for name, own in zip(names, cells, strict=True)]
    )
    shown = capsys.readouterr().out
    assert "…" not in shown and max(map(len, shown.splitlines())) <= width
    assert all(f"│ {name} " in shown for name in names)
    assert all(cell in shown for own in cells for cell in own)


def test_a_long_text_in_a_table_takes_several_lines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "_console", Console(width=60))
    path = "a/very/long/path/" * 8
    console.table("", ["file", "bytes", "origin"], [["a.txt", "1,234", f"from {path}"]])
    shown = capsys.readouterr().out
    assert "…" not in shown and "1,234" in shown
    assert path in "".join(line.split("│")[3].strip() for line in shown.splitlines() if line.count("│") == 4)


UNESCAPED = ("[/x]", "[bold", "[/bold]", "[link=http://evil]here[/link]", "[@click=x]y", "[red]", ":bomb:")
HOSTILE = (*UNESCAPED, r"\[bold]", "[bold]", "[/]", r"\\[dim]")


@pytest.mark.parametrize("name", UNESCAPED)
def test_text_from_data_is_no_markup(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`[/x]` in a name of a file ended a retraining with a traceback; a link was live in the terminal."""
    console.say(f"[bold]retrain:[/] training, because {name} changed")
    console.table(f"of {name}", ["model", name], [[name, 1.0]])
    with console.progress(f"download {name}", 1, "MB") as advance:
        advance(1)
    console.warn(name, name)
    shown = capsys.readouterr().out
    assert f"retrain: training, because {name} changed" in shown
    assert f"of {name}" in shown and f"download {name}: 1 of 1 MB" in shown and f"{name}: {name}" in shown


@pytest.mark.parametrize("name", HOSTILE)
def test_an_escaped_text_is_shown_as_it_is(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    console.say(f"[dim]a {escape(name)} b[/]")
    assert capsys.readouterr().out == f"a {name} b\n"


@pytest.mark.parametrize("name", UNESCAPED)
def test_text_from_data_is_no_markup_on_a_terminal(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr(console, "_console", Console(file=out, force_terminal=True, width=200))
    console.say(f"[dim]a {name} b[/]")
    with console.progress(f"download {name}", 1, "MB") as advance:
        advance(1)
    assert name in out.getvalue() and "\x1b]8" not in out.getvalue()


def test_our_own_styles_are_styles() -> None:
    text = console.styled("[bold red]error:[/] [dim]a[/] b")
    assert text.plain == "error: a b" and [str(span.style) for span in text.spans] == ["bold red", "dim"]


def test_a_stage_that_is_done_exits_without_a_search_for_cycles(root: Path) -> None:
    """Of torch and transformers it takes two seconds; what is registered for the exit runs all the same."""
    script = (
        "import atexit, gc\n"
        "from baton import console\n"
        "atexit.register(lambda: print('at exit', gc.get_freeze_count() > 1000))\n"
        "console.run_stage(lambda: print('main', gc.get_freeze_count()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=root / "src"
    )
    assert done.stdout.split("\n") == ["main 0", "at exit True", ""]
