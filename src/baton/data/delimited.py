"""Delimited text (CSV, TSV) -> rows; a row that cannot be read is named by its line."""

import csv
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from baton import params
from baton.data import columns
from baton.data.columns import Columns
from baton.data.raw import RawTable
from baton.errors import DataError


def read(table: RawTable, settings: params.DelimitedFormat, wanted: Columns) -> None:
    """Read all rows into `table`.

    Raises:
        DataError: the header cannot be read, or a column is not there.
    """
    with table.path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        lines = file.readlines()
    records = _records(lines, settings)
    names = list(settings.columns) if settings.columns is not None else _header(records, table.path)
    places = {name: _place(names, name, table.path, wanted) for name in wanted.names}
    for line, cells in records:
        if isinstance(cells, str):
            table.reject(f"line {line}: {cells}")
        elif not cells:
            table.blank_lines += 1
        elif len(cells) != len(names):
            table.reject(f"line {line}: {len(cells)} fields instead of {len(names)}")
        else:
            table.add(*wanted.row({name: cells[place] for name, place in places.items()}))


def _header(records: Iterator[tuple[int, list[str] | str]], path: Path) -> list[str]:
    for line, cells in records:
        if isinstance(cells, str):
            raise DataError(
                f"{path}: the header cannot be read", got=f"line {line}: {cells}", expected="column names", hint="mend that line"
            )
        if cells:
            return cells
    return []


def _records(lines: list[str], settings: params.DelimitedFormat) -> Iterator[tuple[int, list[str] | str]]:
    """Yield (line number, cells) or (line number, what is wrong).

    A quote that is never closed would swallow every line up to the next quote or the end of the file. Only the line that opened it is given
    up; reading goes on with the line after it.
    """
    csv.field_size_limit(sys.maxsize)
    quoting: dict[str, Any] = {"quoting": csv.QUOTE_NONE} if settings.quote is None else {"quotechar": settings.quote, "doublequote": True}
    start = settings.skip_lines
    while start < len(lines):
        reader = csv.reader(islice(lines, start, None), delimiter=settings.delimiter, strict=True, **quoting)
        before = 0
        try:
            for cells in reader:
                yield start + before + 1, cells
                before = reader.line_num
        except csv.Error as error:
            what = "a quote is opened and never closed" if "unexpected end of data" in str(error) else str(error)
            yield start + before + 1, what
            start += before + 1
        else:
            return


def _place(names: list[str], name: str, path: Path, wanted: Columns) -> int:
    if names.count(name) != 1:
        raise columns.missing(path, name, names, wanted)
    return names.index(name)
