"""Write the clean table of a split of texts, and which rows of train are never separated."""

from collections import Counter
from pathlib import Path

from baton import params
from baton.contracts import text_pairs
from baton.contracts.task_spec import TaskSpec
from baton.tables.checks import SURROGATE
from baton.tables.rows import Row
from baton.tables.target_cells import TargetCells

ROW_GROUP = 4096  # rows; a reader that works by row groups needs memory for this many


def write(
    path: Path, rows: list[Row], spec: TaskSpec, settings: params.TextPreprocess, cells: TargetCells
) -> None:
    """Write the rows of one split; the names of `spec` are those whose indexes are targets."""
    import pyarrow as pa
    import pyarrow.parquet as pq

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
    pq.write_table(pa.table(columns), path, row_group_size=ROW_GROUP)


def write_units(path: Path, rows: list[Row], units: dict[str, int]) -> None:
    """Write which train rows are never separated, so that cross-validation keeps them together too.

    Rows that are alone in their unit are left out.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    sizes = Counter(units[row.id] for row in rows)
    shared = [(row.id, units[row.id]) for row in rows if sizes[units[row.id]] > 1]
    columns = {
        "id": pa.array([id_ for id_, _ in shared], pa.string()),
        "unit": pa.array([unit for _, unit in shared], pa.int64()),
    }
    pq.write_table(pa.table(columns), path)
