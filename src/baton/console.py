"""Console output of a stage: text, tables and progress; errors are printed without a traceback.

On a terminal, progress is a bar with rate and time left; elsewhere (CI, a log file) it is a plain line every
ten seconds.
"""

import contextlib
import gc
import math
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from types import FrameType

from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, Task, TextColumn, TimeRemainingColumn
from rich.progress import ProgressColumn as Column
from rich.table import Table
from rich.text import Text

from baton.errors import BatonError, one_line, redacted, visible

LINE_SECONDS = 10.0
PLAIN_WIDTH = 160
MINUTES = 150.0  # seconds from which a time left is shown in minutes
HOURS = 120  # minutes from which it is shown in hours
FRAME = 3  # characters between the cells of a table
SHORT = 24  # characters of a cell that is never broken: a name, a number, an interval
# What `styled` understands; tags as rich's `escape` knows them.
STYLES = ("bold", "dim", "yellow", "green", "bold green", "bold red", "/")
MARK = re.compile(r"(?P<slashes>\\*)(?P<tag>\[[a-z#/@][^\[]*?\])")
STOPPED = (128 + signal.SIGINT, 128 + signal.SIGTERM)  # exit codes

_console = Console() if sys.stdout.isatty() else Console(width=PLAIN_WIDTH)


def say(text: RenderableType) -> None:
    """Print one message, in which `styled` applies our styles."""
    _console.print(styled(text) if isinstance(text, str) else text, highlight=False)


def warn(subject: str, text: object) -> None:
    """Print a warning about a failure that does not stop the stage; both are printed without markup."""
    say(f"[yellow]{escape(subject)}:[/] {escape(redacted(str(text)))}")


def styled(text: str) -> Text:
    """Return text with our own styles, `[bold]…[/]`; any other brackets are text.

    Names from data are not trusted: rich's own markup ends with an error at `[/x]`, and makes links. Where a
    name must be shown exactly as it is, `rich.markup.escape` it.
    """
    made, open_, place = Text(), list[str](), 0
    shown = visible(text)
    for match in MARK.finditer(shown):
        slashes = len(match["slashes"])
        made.append(shown[place : match.start()] + "\\" * (slashes // 2), " ".join(open_))
        place = match.end()
        tag, style = match["tag"], match["tag"][1:-1]
        if slashes % 2 or style not in STYLES:
            made.append(tag, " ".join(open_))
        elif style != "/":
            open_.append(style)
        elif open_:
            open_.pop()
    made.append(shown[place:], " ".join(open_))
    return made


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table; the first column is left-aligned, the others right-aligned.

    Short cells are never broken or cut off: a terminal too narrow for all columns gets the table in parts,
    each with the first column.
    """
    title, columns = one_line(title), [*map(one_line, columns)]
    cells = [[one_line(str(cell)) for cell in row] for row in rows]
    wanted = [[max(map(cell_len, own)), _least(own)] for own in zip(columns, *cells, strict=True)]
    if title:  # by itself, since a table folds its title to its own width
        _console.print(Text(title, "bold"))
    for part in _parts([least for _, least in wanted], _console.width):
        grid = Table()
        room = _console.width - 1 - sum(wanted[place][1] + FRAME for place in part)
        widths = {}
        for place in sorted(part, key=lambda place: wanted[place][0] - wanted[place][1]):
            whole, least = wanted[place]
            widths[place] = min(whole, least + max(room, 0))
            room -= widths[place] - least
        for place in part:
            grid.add_column(
                Text(columns[place]),
                justify="left" if place == 0 else "right",
                width=widths[place],
                overflow="fold",
            )
        for row in cells:
            grid.add_row(*(Text(row[place]) for place in part))
        _console.print(grid)


def _least(column: Sequence[str]) -> int:
    """Return the least width of a column: of its longest short cell, or word of others and of its name."""
    name, *cells = column
    words = [
        word for cell in (name, *(cell for cell in cells if cell_len(cell) > SHORT)) for word in cell.split()
    ]
    return max(
        min(max(map(cell_len, words), default=1), SHORT),
        *(cell_len(cell) for cell in cells if cell_len(cell) <= SHORT),
        1,
    )


def _parts(widths: Sequence[int], room: int) -> list[list[int]]:
    """Return the columns of each part of a table, such that each part fits; the first column is in all."""
    parts = [[0]]
    for place in range(1, len(widths)):
        if len(parts[-1]) > 1 and sum(widths[own] + FRAME for own in (*parts[-1], place)) + 1 > room:
            parts.append([0])
        parts[-1].append(place)
    return parts


@contextlib.contextmanager
def progress(title: str, total: float | None, unit: str) -> Iterator[Callable[..., None]]:
    """Yield `advance(amount, worked=True)`; `total` is in `unit` (None if unknown).

    Pass `worked=False` for an amount that an earlier attempt completed.
    """
    with _bar(title, total, unit) if _console.is_terminal else _lines(title, total, unit) as advance:
        yield advance


@contextlib.contextmanager
def sparing() -> Iterator[Callable[[str, bool], None]]:
    """Yield `show(text, matters)`, which leaves out lines that come soon after another.

    A line is printed if it matters, if the one before is ten seconds old, or if it is the last.
    """
    last, held = -LINE_SECONDS, ""

    def show(text: str, matters: bool) -> None:
        nonlocal last, held
        held = text
        if matters or time.monotonic() - last >= LINE_SECONDS:
            say(text)
            last, held = time.monotonic(), ""

    try:
        yield show
    finally:
        if held:
            say(held)


def run(main: Callable[[], None]) -> None:
    """Call `main`; print a BatonError without traceback and exit 1; SIGTERM exits 143 and Ctrl-C 130.

    SIGTERM becomes SystemExit, so that half-written files are removed on the way out; a second one does not
    interrupt that.
    """
    signal.signal(signal.SIGTERM, _terminate)
    try:
        main()
    except BatonError as error:
        Console(stderr=True, soft_wrap=True).print(
            f"[bold red]error:[/] {escape(str(error))}", highlight=False
        )
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        raise SystemExit(128 + signal.SIGINT) from None


def run_stage(main: Callable[[], None]) -> None:
    """Like `run`, but end with the `dvc` that started the stage, and exit at once after stop and cleanup."""
    from baton.processes import supervision

    supervision.watch()
    try:
        run(main)
    except SystemExit as ending:
        # An orderly shutdown of torch and mlflow takes seconds, which the caller may not grant.
        if ending.code in STOPPED:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            os._exit(int(ending.code))
        raise
    # The interpreter would look through every object of torch and transformers for cycles before it exits.
    # The system takes their memory anyway, and what is registered for the exit still runs.
    gc.freeze()


def silence() -> None:
    """Print only errors from here on: for a process whose siblings print the same messages."""
    global _console  # noqa: PLW0603  one console per process
    _console = Console(quiet=True)


def _time(seconds: float) -> str:
    """Return a time in seconds, or in minutes or hours where these do not matter."""
    if seconds < MINUTES:
        return f"{seconds:,.0f} s"
    minutes = math.ceil(seconds / 60)
    return f"{minutes} min" if minutes < HOURS else f"{minutes / 60:,.1f} h"


def _terminate(number: int, _frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)
    raise SystemExit(128 + number)


class _Rate(Column):
    def __init__(self, unit: str) -> None:
        super().__init__()
        self.unit = unit

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed or 0:,.1f} {self.unit}/s")


@contextlib.contextmanager
def _bar(title: str, total: float | None, unit: str) -> Iterator[Callable[..., None]]:
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(unit),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=_console) as bar:
        task = bar.add_task(one_line(title), total=total)

        def advance(amount: float, worked: bool = True) -> None:
            if worked:
                bar.advance(task, amount)
            else:  # restart the rate and the time left
                bar.reset(task, completed=int(bar.tasks[0].completed + amount), total=total)

        yield advance


@contextlib.contextmanager
def _lines(title: str, total: float | None, unit: str) -> Iterator[Callable[..., None]]:
    start = shown = time.monotonic()
    done = before = 0.0

    def line(now: float) -> None:
        nonlocal shown
        shown = now
        rate = (done - before) / max(now - start, 1e-9)
        left = f", {_time((total - done) / rate)} left" if total and rate and done < total else ""
        of = f" of {total:,.0f}" if total else ""
        say(f"{escape(one_line(title))}: {done:,.0f}{of} {unit}, {rate:,.1f} {unit}/s{left}")

    def advance(amount: float, worked: bool = True) -> None:
        nonlocal done, before
        done += amount
        before += 0.0 if worked else amount
        now = time.monotonic()
        if now - shown >= LINE_SECONDS or done == total:
            line(now)

    yield advance
    if done != total:
        line(time.monotonic())
