"""Raw files -> rows of text and label, byte by byte: what cannot be read is named by row number and reason, and nothing crashes on it."""

import csv
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from baton import params
from baton.data.raw import RawTable
from baton.errors import DataError


@dataclass(frozen=True)
class Columns:
    """The names of the two columns that are read, and the keys of params that name them."""

    text: str
    label: str
    section: str = "preprocess"
    text_key: str = "text_column"

    @property
    def pair(self) -> tuple[str, str]:
        """Both names."""
        return self.text, self.label


def read(path: Path, split: str, form: params.Format, columns: Columns) -> RawTable:
    """Read one file of text and label, or of paths and labels.

    Raises:
        DataError: the file is empty, of another format, or lacks a column.
    """
    table = RawTable(split, path)
    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty", got="0 bytes", expected="rows of text and label", hint="check the file that `source` names")
    match form:
        case params.DelimitedFormat():
            _refuse_utf16(path)
            _read_delimited(table, form, columns)
        case params.JsonLinesFormat():
            _refuse_utf16(path)
            _read_json_lines(table, columns)
        case params.ParquetFormat():
            _read_parquet(table, columns)
    if not table.count:
        hint = f"check the file that `source` names, and `skip_lines` and `columns` of {columns.section}.format"
        raise DataError(f"{path} has no rows", got="a header at most", expected="rows of text and label", hint=hint)
    return table


# ---- delimited ---------------------------------------------------------------------------------------------------------------


def _read_delimited(table: RawTable, settings: params.DelimitedFormat, wanted: Columns) -> None:
    with table.path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        lines = file.readlines()
    records = _records(lines, settings)
    columns = list(settings.columns) if settings.columns is not None else _header(records, table.path)
    text_at, label_at = (_place(columns, name, table.path, wanted) for name in wanted.pair)
    for line, cells in records:
        if isinstance(cells, str):
            table.reject(f"line {line}: {cells}")
        elif not cells:
            table.blank_lines += 1
        elif len(cells) != len(columns):
            table.reject(f"line {line}: {len(cells)} fields instead of {len(columns)}")
        else:
            table.add(cells[text_at], cells[label_at])


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


def _place(columns: list[str], name: str, path: Path, wanted: Columns) -> int:
    if columns.count(name) != 1:
        raise _missing_column(path, name, columns, wanted)
    return columns.index(name)


# ---- JSON Lines --------------------------------------------------------------------------------------------------------------


def _read_json_lines(table: RawTable, wanted: Columns) -> None:
    seen: dict[str, None] = {}  # keys in order of appearance
    with table.path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            raw = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
            if not raw.strip():
                table.blank_lines += 1
                continue
            try:
                value = json.loads(raw.decode("utf-8", errors="surrogateescape"))
            except (ValueError, RecursionError) as error:
                table.reject(f"line {number}: no JSON: {error}")
                continue
            if not isinstance(value, dict):
                table.reject(f"line {number}: {type(value).__name__} instead of an object")
                continue
            seen.update(dict.fromkeys(value))
            table.add(value.get(wanted.text), value.get(wanted.label))
    for name in wanted.pair:
        if seen and name not in seen:
            raise _missing_column(table.path, name, list(seen), wanted)


# ---- Parquet -----------------------------------------------------------------------------------------------------------------


def _read_parquet(table: RawTable, wanted: Columns) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(table.path) as file:
            for name in wanted.pair:
                if file.schema_arrow.names.count(name) != 1:
                    raise _missing_column(table.path, name, file.schema_arrow.names, wanted)
            for batch in file.iter_batches(columns=list(dict.fromkeys(wanted.pair))):
                for text, label in zip(*(values(batch.column(name)) for name in wanted.pair), strict=True):
                    table.add(text, label)
    except (pa.ArrowInvalid, OSError) as error:
        hint = f"write the file again, or set {wanted.section}.format to what it is"
        raise DataError(f"{table.path} is no readable Parquet file", got=error, expected="Apache Parquet", hint=hint) from None


def values(column: Any) -> list[Any]:
    """Python values of an Arrow array; text comes as bytes, since Parquet does not promise that it is UTF-8."""
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type) or pa.types.is_string_view(column.type):
        column = column.cast(pa.large_binary())
    return list(column.to_pylist())


# ---- refusals ----------------------------------------------------------------------------------------------------------------


def _missing_column(path: Path, name: str, columns: list[str], wanted: Columns) -> DataError:
    times = columns.count(name)
    problem = f"{path} has {times} columns named {name!r}" if times else f"{path} has no column {name!r}"
    hint = f"set {wanted.text_key} and label_column of {wanted.section} to columns of the file; check its delimiter too"
    return DataError(problem, got=", ".join(map(repr, columns[:50])), expected=f"one column {name!r}", hint=hint)


def _refuse_utf16(path: Path) -> None:
    with path.open("rb") as file:
        start = file.read(2)
    if start in (b"\xff\xfe", b"\xfe\xff"):
        raise DataError(
            f"{path} is UTF-16", got="its byte-order mark", expected="UTF-8", hint="save it as UTF-8 (`iconv -f utf-16 -t utf-8`)"
        )
