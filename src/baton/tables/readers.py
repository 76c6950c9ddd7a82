"""Read raw files into rows of text and label; unreadable rows are kept by number with their reason."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from baton import params
from baton.errors import DataError
from baton.tables import (
    columns,
    containers,
    delimited,
    documents,
    encodings,
    file_folders,
    json_lines,
    question_files,
    tagged_files,
)
from baton.tables.columns import Columns
from baton.tables.rows import Cell, Joined, RawTable, one_name

AT_ONCE = 4096  # rows of a Parquet file
# Bytes of a column that are read at a time, however large the row groups are; only without `pre_buffer`.
BUFFER = 2**20


def read(
    path: Path,
    split: str,
    form: params.Format,
    wanted: Columns,
    read_label: Callable[[Any], Cell | str] = one_name,
    joined: Callable[[Any, Any, Any], Joined | str] | None = None,
) -> RawTable:
    """Read a file (or folder of files) of texts and labels, or of paths and labels.

    `read_label` and `joined` are those of `RawTable`.

    Raises:
        DataError: The file is empty, has another format, or lacks a column.
    """
    table = RawTable(split, path, read_label, joined=joined)
    fill(table, form, wanted)
    return table


def fill(table: RawTable, form: params.Format, wanted: Columns, *, may_be_empty: bool = False) -> None:
    """Read the file (or folder of files) of an empty table into it.

    Raises:
        DataError: See `read`.
    """
    path = table.path
    if path.is_dir():
        file_folders.read(table, form, wanted, _read_file)
    elif isinstance(form, params.DocumentsFormat):
        hint = "name a folder in `source`, or set the format to what the file is"
        raise DataError(
            f"{path} is one file", got="a file", expected="a folder with one text per file", hint=hint
        )
    else:
        _read_file(table, form, wanted)
    if not table.count and not may_be_empty:
        hint = "check the file that `source` names"
        hint += f", and `skip_lines` and `columns` of {wanted.section}.format" if wanted.section else ""
        raise DataError(
            f"{path} has no rows", got="at most a header", expected="rows of text and label", hint=hint
        )


def column_names(path: Path, form: params.Format, wanted: Columns) -> list[str]:
    """Return the names of a table's columns, in their order; of JSON Lines the keys of all its objects.

    Args:
        path: The file.
        form: Delimited, JSON Lines or Parquet.
        wanted: Columns that the table should have, by which the delimiter is found.

    Raises:
        DataError: The file is empty, or has another format.
    """
    _refuse_empty(path)
    match form:
        case params.DelimitedFormat():
            return delimited.column_names(path, form, wanted)
        case params.JsonLinesFormat():
            return json_lines.keys(path, form, wanted)
        case params.ParquetFormat():
            return _parquet_names(path, wanted)
        case _:
            raise NotImplementedError(form.kind)  # such files do not name their columns


def _read_file(table: RawTable, form: params.Format, wanted: Columns) -> None:
    if isinstance(form, params.DocumentsFormat):
        documents.read(table, form, wanted)
        return
    _refuse_empty(table.path)
    if not isinstance(form, params.ParquetFormat) and encodings.packed(table.path):
        table.remarks.append(f"{table.path} is gzip, and read as what it holds")
    match form:
        case params.DelimitedFormat():
            delimited.read(table, form, wanted)
        case params.JsonLinesFormat():
            json_lines.read(table, form, wanted)
        case params.LinesFormat():
            documents.read_lines(table, form, wanted)
        case params.ConllFormat():
            tagged_files.read_columns(table, form, wanted)
        case params.TokenXmlFormat():
            tagged_files.read_xml(table, form, wanted)
        case params.SquadFormat():
            question_files.read(table, wanted)
        case params.ParquetFormat():
            _read_parquet(table, wanted)


def _refuse_empty(path: Path) -> None:
    if path.stat().st_size == 0:
        raise DataError(
            f"{path} is empty",
            got="0 bytes",
            expected="rows of text and label",
            hint="check the file that `source` names",
        )


# ---- Parquet -----------------------------------------------------------------------------------------------


def _read_parquet(table: RawTable, wanted: Columns) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(table.path, buffer_size=BUFFER, pre_buffer=False) as file:
            for name in wanted.names:
                if file.schema_arrow.names.count(name) != 1:
                    raise columns.missing(
                        table.path, name, file.schema_arrow.names, wanted, _inner(file.schema_arrow, name)
                    )
                whole = table.joined is not None and name in (wanted.text, *wanted.labels)
                if not whole and (name not in wanted.labels or isinstance(table.read_label([]), str)):
                    _refuse_nested(table.path, file.schema_arrow.field(name))
            for batch in file.iter_batches(AT_ONCE, columns=list(wanted.names)):
                for row in zip(*(values(batch.column(name)) for name in wanted.names), strict=True):
                    table.add(*wanted.row(dict(zip(wanted.names, row, strict=True))))
    except (pa.ArrowInvalid, OSError) as error:
        raise _no_parquet(table.path, error, wanted) from None


def _parquet_names(path: Path, wanted: Columns) -> list[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        names: list[str] = pq.read_schema(path).names
    except (pa.ArrowInvalid, OSError) as error:
        raise _no_parquet(path, error, wanted) from None
    return names


def _no_parquet(path: Path, error: Exception, wanted: Columns) -> DataError:
    """Return the error for a file that pyarrow cannot read, naming its actual format if it is known."""
    with path.open("rb") as file:
        head = file.read(512)
    found = containers.what(path, head) if not head.startswith(containers.PARQUET) else None
    if found:
        return DataError(
            f"{path} is {found[0]}, not Parquet",
            got=containers.start(head),
            expected="Apache Parquet",
            hint=found[1],
        )
    hint = "write the file again"
    hint += f", or set {wanted.section}.format to its actual format" if wanted.section else ""
    return DataError(
        f"{path} is not a readable Parquet file", got=error, expected="Apache Parquet", hint=hint
    )


def _refuse_nested(path: Path, field: Any) -> None:
    """Refuse a column whose values are not single texts, numbers, dates or Booleans."""
    import pyarrow as pa

    kind = field.type
    if pa.types.is_nested(kind.value_type if pa.types.is_dictionary(kind) else kind):
        hint = "write one value per row: split a list of labels into rows or join it into one name "
        hint += "(or set `task: {kind: labels, separator: null}` for several labels per row), "
        hint += "and write the field of a struct as a separate column"
        raise DataError(
            f"{path}: column {field.name!r} does not contain single values",
            got=str(kind),
            expected="text, numbers or dates",
            hint=hint,
        )


def _inner(schema: Any, name: str) -> str:
    """Return a hint if the name is that of a field of a struct."""
    outer = name.partition(".")[0]
    if "." not in name or schema.names.count(outer) != 1:
        return ""
    return f"column {outer!r} is {schema.field(outer).type}: write its fields as separate columns"


def values(column: Any) -> list[Any]:
    """Return the Python values of an Arrow array; text as bytes, since Parquet may hold invalid UTF-8."""
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if _is_text(column.type):
        column = column.cast(pa.large_binary())
    lists = pa.types.is_list(column.type) or pa.types.is_large_list(column.type)
    if lists and _is_text(column.type.value_type):
        column = column.cast(pa.large_list(pa.large_binary()))
    return list(column.to_pylist())


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))
