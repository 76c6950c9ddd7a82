"""Read delimited text (CSV, TSV) into rows; a row that cannot be read is reported by its line number."""

import csv
import re
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from baton import params
from baton.errors import DataError
from baton.tables import columns, encodings
from baton.tables.columns import Columns
from baton.tables.rows import RawTable

AUTO = "auto"
DELIMITERS = (",", ";", "\t", "|")
TRIED_LINES = 100  # to find the delimiter if there is no header
SEP = re.compile(r"\s*sep=(.)\s*", re.IGNORECASE)  # the first line of files from some spreadsheets
Records = Iterator[tuple[int, list[str] | str, list[str]]]  # line number; cells or the fault; the lines
UNCLOSED = "a quote is opened and never closed"


@dataclass
class _Lines:
    """The lines of a file; those since the last `mark` can be read again."""

    source: Iterator[str]
    again: deque[str] = field(default_factory=deque)
    taken: list[str] = field(default_factory=list)
    marked: int = 0  # number of lines before the mark

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self.again.popleft() if self.again else next(self.source)
        self.taken.append(line)
        return line

    def mark(self) -> None:
        """Forget the lines taken so far."""
        self.marked += len(self.taken)
        self.taken.clear()

    def back(self) -> None:
        """Return to the line after the marked one, which is abandoned."""
        self.again.extendleft(reversed(self.taken[1:]))
        del self.taken[1:]
        self.mark()


def read(table: RawTable, settings: params.DelimitedFormat, wanted: Columns) -> None:
    """Read all rows into `table`.

    Raises:
        DataError: The file is not text, its encoding is uncertain, the header cannot be read, or a column is
            missing.
    """
    encoding = encodings.find(table.path, settings.encoding, wanted.encoding_key)
    table.guessed = encoding.name if encoding.guessed else ""
    if encoding.remark:
        table.remarks.append(encoding.remark)
    with encodings.text(table.path, encoding) as file:
        begun = _begin(file, table.path, settings, wanted)
        for name in wanted.names:
            if begun.names.count(name) != 1:
                hint = _other_delimiter(begun.start, begun.settings, wanted)
                raise columns.missing(table.path, name, begun.names, wanted, hint)
        _read(table, begun.records, begun.names, begun.settings, wanted)
    if settings.delimiter == AUTO and begun.delimiter != DELIMITERS[0]:
        table.remarks.append(f"{table.path} is read with the delimiter {begun.delimiter!r}")


def column_names(path: Path, settings: params.DelimitedFormat, wanted: Columns) -> list[str]:
    """Return the names of the columns; `wanted` are those by which the delimiter is found.

    Raises:
        DataError: The file is not text, its encoding is uncertain, or the header cannot be read.
    """
    with encodings.text(path, encodings.find(path, settings.encoding, wanted.encoding_key)) as file:
        return _begin(file, path, settings, wanted).names


class _Begun(NamedTuple):
    """A file of which the header, if it has one, was read."""

    settings: params.DelimitedFormat
    delimiter: str
    start: list[str]  # the first lines
    names: list[str]
    records: Records


def _begin(file: TextIO, path: Path, settings: params.DelimitedFormat, wanted: Columns) -> _Begun:
    csv.field_size_limit(sys.maxsize)
    first = list(islice(file, settings.skip_lines + TRIED_LINES))
    skipped, start = _foreign(path, first, settings, wanted)
    settings = _present(start, settings, wanted)
    delimiter = _delimiter(start, settings, wanted) if settings.delimiter == AUTO else settings.delimiter
    lines, width = _Lines(file, deque(start), marked=skipped), len(settings.columns or ())
    records = _records(lines, _dialect(settings, delimiter), width)
    names = list(settings.columns) if settings.columns is not None else _header(records, path)
    return _Begun(settings, delimiter, start, names, records)


def _read(
    table: RawTable, records: Records, names: list[str], settings: params.DelimitedFormat, wanted: Columns
) -> None:
    places = {name: names.index(name) for name in wanted.names}
    for line, cells, source in records:
        if isinstance(cells, str):
            table.reject(f"line {line}: {cells}{_escaped(source[:1], settings)}")
        elif not cells:
            table.blank_lines += 1
        elif len(cells) != len(names):
            table.reject(
                f"line {line}: {len(cells)} fields instead of {len(names)}{_escaped(source, settings)}"
            )
        else:
            table.add(*wanted.row({name: cells[place] for name, place in places.items()}))


def _header(records: Records, path: Path) -> list[str]:
    for line, cells, _ in records:
        if isinstance(cells, str):
            got, hint = f"line {line}: {cells}", "fix that line"
            raise DataError(f"{path}: the header cannot be read", got=got, expected="column names", hint=hint)
        if cells:
            return cells
    return []


def _records(lines: _Lines, dialect: dict[str, Any], width: int = 0) -> Records:
    """Yield (line number, cells or the fault, the lines it was read from).

    A quote that is closed too late swallows the rows up to the next quote or the end of the file. In that
    case only the line that opened it is abandoned; reading resumes with the next line. A record of several
    lines is recognized as such a case by an error from csv, or by a wrong number of fields if each of its
    other lines is a complete row. `width` is the expected number of fields; 0 takes that of the first record.
    """
    while True:
        try:
            for cells in csv.reader(lines, strict=True, **dialect):
                taken = list(lines.taken)
                width = width or len(cells)
                if len(taken) > 1 and len(cells) != width and _rows(taken[1:], dialect, width):
                    yield lines.marked + 1, UNCLOSED, taken[:1]
                    lines.back()
                    break
                yield lines.marked + 1, cells, taken
                lines.mark()
            else:
                return
        except csv.Error as error:
            what = UNCLOSED if "unexpected end of data" in str(error) else str(error)
            yield lines.marked + 1, what, list(lines.taken)
            lines.back()


def _rows(lines: Iterable[str], dialect: dict[str, Any], width: int) -> bool:
    """Return whether each of the lines is a complete row."""
    quote = dialect.get("quotechar")
    for line in lines:
        try:
            records = list(csv.reader([line], strict=True, **dialect))
        except csv.Error:
            return False
        if len(records) != 1 or len(records[0]) != width or (quote and line.count(quote) % 2):
            return False
    return True


def _dialect(settings: params.DelimitedFormat, delimiter: str) -> dict[str, Any]:
    quoting: dict[str, Any] = (
        {"quoting": csv.QUOTE_NONE}
        if settings.quote is None
        else {"quotechar": settings.quote, "doublequote": True}
    )
    return {"delimiter": delimiter, "escapechar": settings.escape, **quoting}


# ---- finding the dialect -----------------------------------------------------------------------------------


def _foreign(
    path: Path, first: list[str], settings: params.DelimitedFormat, wanted: Columns
) -> tuple[int, list[str]]:
    """Return the number of lines to skip, and the first lines after them.

    A spreadsheet's `sep=` line is skipped if the delimiter is `auto`.
    """
    skipped, start = settings.skip_lines, first[settings.skip_lines :]
    if not start or not (match := SEP.fullmatch(start[0].rstrip("\r\n"))):
        return skipped, start
    if settings.delimiter == AUTO:
        return skipped + 1, start[1:]
    hint = f"set {wanted.section}.format.skip_lines: {skipped + 1} and delimiter: {match[1]!r}, "
    hint += "or delimiter: auto, which handles such a line"
    raise DataError(
        f"{path} begins with a spreadsheet's `sep=` line",
        got=f"sep={match[1]}",
        expected="column names",
        hint=hint,
    )


def _present(start: list[str], settings: params.DelimitedFormat, wanted: Columns) -> params.DelimitedFormat:
    """Return the format without the columns that a file may lack, if more of its lines have that width."""
    fewer = tuple(name for name in settings.columns or () if name not in wanted.optional)
    if settings.columns is None or fewer == settings.columns:
        return settings
    without = settings.model_copy(update={"columns": fewer})
    return max((settings, without), key=lambda one: _fitting(start, one))


def _fitting(start: list[str], settings: params.DelimitedFormat) -> int:
    """Return how many lines have as many fields as the format names columns."""
    tried = DELIMITERS if settings.delimiter == AUTO else (settings.delimiter,)
    width = len(settings.columns or ())
    return max(sum(len(cells) == width for cells in _all_cells(start, settings, one)) for one in tried)


def _delimiter(start: list[str], settings: params.DelimitedFormat, wanted: Columns) -> str:
    """Return the first delimiter with which the header names the columns.

    Without a header, return the one with which most lines have the expected number of fields.
    """
    if settings.columns is None:
        return next(
            (one for one in DELIMITERS if set(wanted.names) <= set(_cells(start, settings, one))),
            DELIMITERS[0],
        )
    width = len(settings.columns)
    fits = {one: sum(len(cells) == width for cells in _all_cells(start, settings, one)) for one in DELIMITERS}
    return max(DELIMITERS, key=lambda one: fits[one])


def _cells(start: list[str], settings: params.DelimitedFormat, delimiter: str) -> list[str]:
    return next((cells for cells in _all_cells(start, settings, delimiter) if cells), [])


def _all_cells(start: list[str], settings: params.DelimitedFormat, delimiter: str) -> Iterator[list[str]]:
    for _, cells, _ in _records(_Lines(iter(start)), _dialect(settings, delimiter)):
        if not isinstance(cells, str):
            yield cells


def _other_delimiter(start: list[str], settings: params.DelimitedFormat, wanted: Columns) -> str:
    """Return a hint if the header has the columns with a different delimiter than the configured one."""
    found = _delimiter(start, settings, wanted)
    if (
        settings.columns is not None
        or found == settings.delimiter
        or not set(wanted.names) <= set(_cells(start, settings, found))
    ):
        return ""
    return f"the delimiter is {found!r}: set {wanted.section}.format.delimiter to it, or to auto"


def _escaped(lines: list[str], settings: params.DelimitedFormat) -> str:
    """Return a hint if a line contains quotes after a backslash."""
    if (
        settings.escape is None
        and settings.quote is not None
        and any(f"\\{settings.quote}" in line for line in lines)
    ):
        return f'; it holds \\{settings.quote}: set escape: "\\\\" of the format'
    return ""
