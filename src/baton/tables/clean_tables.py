"""Write the clean table of a split of texts, and which rows of train are never separated."""

from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from baton import params
from baton.contracts import text_pairs
from baton.contracts.task_spec import TaskSpec
from baton.tables import row_sets
from baton.tables.checks import SURROGATE
from baton.tables.row_sets import Numbers, Rows
from baton.tables.rows import Row
from baton.tables.target_cells import TargetCells

ROW_GROUP = 4096  # rows; a reader that works by row groups needs memory for this many


def write(
    path: Path, rows: Rows, spec: TaskSpec, settings: params.TextPreprocess, cells: TargetCells
) -> None:
    """Write the rows of one split; the names of `spec` are those whose indexes are targets."""
    import pyarrow.parquet as pq

    file, rest = None, iter(rows)
    while some := list(islice(rest, ROW_GROUP)):
        table = _table(some, spec, settings, cells)
        file = file or pq.ParquetWriter(path, table.schema)
        file.write_table(table)
    if file is None:
        pq.write_table(_table([], spec, settings, cells), path)
    else:
        file.close()


def _table(rows: list[Row], spec: TaskSpec, settings: params.TextPreprocess, cells: TargetCells) -> Any:
    import pyarrow as pa

    pairs = settings.text_pair_column is not None
    places = {name: place for place, name in enumerate(spec.names)}
    columns = {
        "id": pa.array([row.id for row in rows], pa.string()),
        "text": pa.array([row.text for row in rows], pa.string()),
        **({text_pairs.COLUMN: pa.array([row.pair for row in rows], pa.string())} if pairs else {}),
        spec.column: pa.array([cells.target(row.label, places) for row in rows], cells.type()),
    }
    if settings.weight_column is not None:
        columns["weight"] = pa.array([row.extras.weight for row in rows], pa.float32())
    for place, name in enumerate(settings.keep_columns):
        columns[name] = pa.array(
            [SURROGATE.sub("\ufffd", row.extras.kept[place]) for row in rows], pa.string()
        )
    return pa.table(columns)


def write_units(path: Path, rows: Rows, units: Numbers) -> None:
    """Write which train rows are never separated, so that cross-validation keeps them together too.

    `units` are the numbers of the rows' units, (rows,).

    Rows that are alone in their unit are left out.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    shared = np.bincount(units)[units] > 1
    columns = {
        "id": pa.array(row_sets.ids(row_sets.where(rows, shared)), pa.string()),
        "unit": pa.array(units[shared].astype(np.int64)),
    }
    pq.write_table(pa.table(columns), path)
