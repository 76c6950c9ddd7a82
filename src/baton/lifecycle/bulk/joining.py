"""The parts of an output -> the output, in its format, row by row in the input's order."""

import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

GROUP = 2**17  # rows of a row group


def write(tables: Iterable[pa.Table], schema: pa.Schema, form: str, path: Path) -> None:
    """Write parts to a file.

    Args:
        tables: the parts in order.
        schema: theirs.
        form: `csv`, `jsonl` or `parquet`.
        path: the file.
    """
    match form:
        case "parquet":
            with pq.ParquetWriter(path, schema) as writer:
                for table in _groups(tables):
                    writer.write_table(table.cast(schema), row_group_size=GROUP)
        case "csv":
            with path.open("w", encoding="utf-8", newline="") as file:
                schema.empty_table().to_pandas().to_csv(file, index=False, lineterminator="\n")
                for table in tables:
                    frame = table.to_pandas(integer_object_nulls=True)
                    frame.to_csv(file, index=False, header=False, lineterminator="\n")
        case _:
            with path.open("w", encoding="utf-8", newline="") as file:
                for table in tables:
                    file.writelines(map(_line, table.to_pylist()))


def _line(record: dict[str, Any]) -> str:
    values = {name: None if _infinite(value) else value for name, value in record.items()}
    return json.dumps(values, ensure_ascii=False, allow_nan=False) + "\n"


def _infinite(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _groups(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Yield several parts as one table: row groups as small as a part would make files slow to read."""
    kept: list[pa.Table] = []
    for table in tables:
        if kept and sum(map(len, kept)) + len(table) > GROUP:
            yield pa.concat_tables(kept)
            kept = []
        kept.append(table)
    if kept:
        yield pa.concat_tables(kept)
