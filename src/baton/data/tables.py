"""Raw files -> rows of text and label, byte by byte: what cannot be read is named by row number and reason, and nothing crashes on it."""

from pathlib import Path
from typing import Any

from baton import params
from baton.data import columns, delimited, json_lines
from baton.data.columns import Columns
from baton.data.raw import RawTable
from baton.errors import DataError


def read(path: Path, split: str, form: params.Format, wanted: Columns) -> RawTable:
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
            delimited.read(table, form, wanted)
        case params.JsonLinesFormat():
            _refuse_utf16(path)
            json_lines.read(table, wanted)
        case params.ParquetFormat():
            _read_parquet(table, wanted)
    if not table.count:
        hint = f"check the file that `source` names, and `skip_lines` and `columns` of {wanted.section}.format"
        raise DataError(f"{path} has no rows", got="a header at most", expected="rows of text and label", hint=hint)
    return table


# ---- Parquet -----------------------------------------------------------------------------------------------------------------


def _read_parquet(table: RawTable, wanted: Columns) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(table.path) as file:
            for name in wanted.names:
                if file.schema_arrow.names.count(name) != 1:
                    raise columns.missing(table.path, name, file.schema_arrow.names, wanted)
            for batch in file.iter_batches(columns=list(wanted.names)):
                for row in zip(*(values(batch.column(name)) for name in wanted.names), strict=True):
                    table.add(*wanted.row(dict(zip(wanted.names, row, strict=True))))
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


def _refuse_utf16(path: Path) -> None:
    with path.open("rb") as file:
        start = file.read(2)
    if start in (b"\xff\xfe", b"\xfe\xff"):
        raise DataError(
            f"{path} is UTF-16", got="its byte-order mark", expected="UTF-8", hint="save it as UTF-8 (`iconv -f utf-16 -t utf-8`)"
        )
