"""The files that hold rows: CSV, TSV, JSON Lines and Parquet tables, and folders of images or clips.

Each is read from front to back and never held whole. A record that cannot be read is a row, too: its error
says why. Blank lines are none.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from baton import console, params
from baton.errors import DataError
from baton.lifecycle.bulk.rows import Row
from baton.streams import few
from baton.tables import delimited, encodings, json_lines
from baton.tables.columns import Columns

KINDS = {
    ".csv": "delimited",
    ".tsv": "delimited",
    ".txt": "delimited",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}
GZIP = ".gz"
FILES = "files"  # the kind of a folder
ID, PATH = "id", "path"  # columns: of a table if it has it, and of a folder
SHOWN = 20  # columns in a message
PEEKED = 1000  # lines of JSON in which the columns must appear
BATCH, BATCH_BYTES = 4096, 2**24  # of a Parquet table, read at once
BLOCK = 2**20


@dataclass(frozen=True)
class Source:
    """An input whose columns are known."""

    path: Path
    kind: str
    columns: Mapping[str, str]  # what a model reads -> the column that has it
    id: str | None
    integer_id: bool  # whether ids are integers of 64 bits with a sign, in a Parquet table

    def rows(self) -> Iterator[Row]:
        """Yield all rows in order.

        Raises:
            DataError: the file cannot be read.
        """
        match self.kind:
            case "delimited":
                return _delimited(self)
            case "jsonl":
                return _json_lines(self)
            case "parquet":
                return _parquet(self)
            case _:
                return _files(self)


def opened(path: Path, columns: Mapping[str, str], id_: str | None) -> Source:
    """Return an input, after a look at its columns.

    Args:
        path: a table, or a folder of files.
        columns: what the model reads -> the column that has it.
        id_: the column of ids; None: `id` if the table has it.

    Raises:
        DataError: it is missing or of an unknown kind, or lacks a column.
    """
    if path.is_dir():
        return _folder(path, columns)
    name = path.name.lower().removesuffix(GZIP)
    kind = KINDS.get(Path(name).suffix, "")
    if not path.is_file() or not kind:
        expected = f"a folder, or a table that ends in {', '.join(KINDS)} (or {GZIP} after it)"
        hint = "check its name, or convert it"
        got = "no such file" if not path.exists() else path.suffix or "no suffix"
        raise DataError(f"{path} cannot be read", got=got, expected=expected, hint=hint)
    found = _names(path, kind, columns)
    wanted = [*columns.values(), *([id_] if id_ else [])]
    if missing := [one for one in wanted if found.count(one) != 1]:
        raise _missing(path, missing[0], found)
    known = id_ or (ID if found.count(ID) == 1 and ID not in columns.values() else None)
    integers = kind == "parquet" and known is not None and _fits(pq.read_schema(path).field(known).type)
    return Source(path, kind, columns, known, integers)


def digest(source: Source) -> tuple[str, int | None]:
    """Return the sha256 of an input, and about how many rows it has, if that is known.

    Of a folder it is that of the names, sizes and times of its files.
    """
    if source.kind == FILES:
        found = hashlib.sha256()
        files = paths(source.path)
        for name in files:
            about = (source.path / name).stat()
            found.update(f"{name}\0{about.st_size}\0{about.st_mtime_ns}\n".encode(errors="surrogateescape"))
        return found.hexdigest(), len(files)
    found, lines = hashlib.sha256(), 0
    with source.path.open("rb") as file:
        while block := file.read(BLOCK):
            found.update(block)
            lines += block.count(b"\n")
    if source.kind == "parquet":
        return found.hexdigest(), int(pq.read_metadata(source.path).num_rows)
    header = source.kind == "delimited"
    return found.hexdigest(), None if encodings.packed(source.path) else max(lines - header, 1)


def paths(folder: Path) -> list[str]:
    """Return the files below a folder, sorted, relative to it; hidden ones are left out."""
    found: list[str] = []
    for here, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        start = Path(here).relative_to(folder)
        found += [str(start / name) for name in names if not name.startswith(".")]
    return sorted(found, key=os.fsencode)


def _fits(type_: pa.DataType) -> bool:
    """Return whether all values of a type are integers of 64 bits with a sign."""
    return bool(pa.types.is_integer(type_) and type_ != pa.uint64())


def _folder(path: Path, columns: Mapping[str, str]) -> Source:
    if len(columns) != 1 or "text" in columns:
        reads = ", ".join(columns)
        hint = "write a table; images and clips may be paths in one of its columns"
        raise DataError(
            f"{path} is a folder", got=f"a model that reads {reads}", expected="a table", hint=hint
        )
    return Source(path, FILES, columns, PATH, integer_id=False)


def _files(source: Source) -> Iterator[Row]:
    (name,) = source.columns
    for path in paths(source.path):
        yield Row({name: source.path / path}, path)


def _parquet(source: Source) -> Iterator[Row]:
    names = [*dict.fromkeys([*source.columns.values(), *([source.id] if source.id else [])])]
    with pq.ParquetFile(source.path, pre_buffer=False, buffer_size=BLOCK) as file:
        size = few(file.metadata, BATCH, BATCH_BYTES)
        for batch in file.iter_batches(size, columns=names):
            yield from (_row(source, record) for record in batch.to_pylist())


def _row(source: Source, record: Mapping[str, Any]) -> Row:
    values = {name: _content(record[column]) for name, column in source.columns.items()}
    return Row(values, record[source.id] if source.id else None)


def _content(value: Any) -> Any:
    """Return a cell; a file as other tools keep one, with its bytes and its path, is its bytes."""
    if isinstance(value, dict) and {*value} == {"bytes", "path"}:
        return value["path"] if value["bytes"] is None else value["bytes"]
    return value


def _json_lines(source: Source) -> Iterator[Row]:
    for number, line in _lines(source.path):
        value = json_lines._value(line)
        if isinstance(value, str):
            yield Row(error=f"line {number}: {value}")
        elif lacking := [column for column in source.columns.values() if column not in value]:
            yield Row(id=value.get(source.id or ""), error=f"line {number}: no key {lacking[0]!r}")
        else:
            yield _row(source, value if source.id is None else {source.id: None} | value)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    with encodings.text(path, encodings.find(path, encodings.AUTO, "")) as file:
        yield from ((number, line) for number, line in enumerate(file, start=1) if line.strip())


def _delimited(source: Source) -> Iterator[Row]:
    settings, wanted = _format(source.path), _wanted(source.columns)
    encoding = encodings.find(source.path, encodings.AUTO, "")
    if encoding.remark:
        console.warn("predict", encoding.remark)
    with encodings.text(source.path, encoding) as file:
        # The reader of `preprocess`: it says which lines cannot be read, and goes on after them.
        begun = delimited._begin(file, source.path, settings, wanted)
        width = len(begun.names)
        for line, cells, _ in begun.records:
            if isinstance(cells, str):
                yield Row(error=f"line {line}: {cells}")
            elif cells and len(cells) != width:
                yield Row(error=f"line {line}: {len(cells)} fields instead of {width}")
            elif cells:
                yield _row(source, dict(zip(begun.names, cells, strict=True)))


def _format(path: Path) -> params.DelimitedFormat:
    tabs = path.name.lower().removesuffix(GZIP).endswith(".tsv")
    return params.DelimitedFormat(
        kind="delimited",
        encoding=encodings.AUTO,
        delimiter="\t" if tabs else delimited.AUTO,
        quote='"',
        escape=None,
        skip_lines=0,
        columns=None,
    )


def _wanted(columns: Mapping[str, str]) -> Columns:
    names = tuple(columns.values())
    return Columns(text=names, label=names, section="")


def _names(path: Path, kind: str, columns: Mapping[str, str]) -> list[str]:
    """Return the names of a table's columns; of JSON Lines those of the first lines."""
    match kind:
        case "delimited":
            return delimited.column_names(path, _format(path), _wanted(columns))
        case "parquet":
            try:
                return [*pq.read_schema(path).names]
            except (pa.ArrowInvalid, OSError) as error:
                hint = "write it again"
                raise DataError(f"{path} is no Parquet", got=error, expected="Parquet", hint=hint) from None
        case _:
            seen: dict[str, None] = {}
            for _, (_, line) in zip(range(PEEKED), _lines(path), strict=False):
                value = json_lines._value(line)
                seen |= dict.fromkeys(value) if isinstance(value, dict) else {}
            return [*seen]


def _missing(path: Path, name: str, found: list[str]) -> DataError:
    times = found.count(name)
    problem = f"{path} has {times} columns named {name!r}" if times else f"{path} has no column {name!r}"
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    got = ", ".join(map(repr, found[:SHOWN])) + more
    hint = "name the columns with --text, --text-pair, --image, --audio and --id"
    return DataError(problem, got=got or "no column", expected=f"one column {name!r}", hint=hint)
