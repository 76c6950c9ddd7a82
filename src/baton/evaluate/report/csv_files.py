"""CSV files of the report; the same values give the same bytes."""

import csv
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from baton.contracts import csv_cells

EXCERPT = 200  # characters of a text in the table of errors
Table = tuple[Sequence[str], Iterable[Sequence[object]]]  # columns, and rows


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write rows; numbers have 6 significant digits, an undefined number is an empty cell.

    Texts are cells that no spreadsheet takes for a formula (`csv_cells`).
    """
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([_cell(name) for name in columns])
        writer.writerows([_cell(value) for value in row] for row in rows)


def write_plot(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write rows for `dvc plots`, which puts them into a script of its page without escaping them.

    So a name cannot have a `<`: it is written as `‹`.
    """
    write_csv(path, columns, ([_no_tag(value) for value in row] for row in rows))


def _no_tag(value: object) -> object:
    return value.replace("<", "‹") if isinstance(value, str) else value


def _cell(value: object) -> object:
    if isinstance(value, str):
        return csv_cells.safe(value)
    if not isinstance(value, float):
        return value
    if math.isnan(value):
        return ""
    return int(value) if value.is_integer() and abs(value) < 1e15 else f"{value:.6g}"


def excerpt(text: str) -> str:
    """Return the beginning of a text, in one line."""
    line = " ".join(text.split())
    return line if len(line) <= EXCERPT else line[: EXCERPT - 1] + "…"
