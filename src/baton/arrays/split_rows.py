"""The rows that become a split of arrays: a clean table, or that of train followed by rows without labels.

Output: batches with ids, texts and targets; targets of rows without labels are zeros of the task's encoding
(the first class, no label, 0 for each number).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from baton.contracts import transfer_set
from baton.contracts.task_spec import Classes, Labels, Numbers, TaskSpec


@dataclass(frozen=True)
class SplitRows:
    """A clean table, and perhaps one of rows without labels that follow."""

    table: Path
    unlabelled: Path | None = None

    @property
    def split(self) -> str:
        """The name of the split in data/arrays."""
        return self.table.stem if self.unlabelled is None else transfer_set.TRANSFER

    @property
    def labelled(self) -> int:
        """The number of rows with labels."""
        return count(self.table)

    @property
    def rows(self) -> int:
        """The number of all rows."""
        return self.labelled + (0 if self.unlabelled is None else count(self.unlabelled))

    def write_mask(self, folder: Path) -> None:
        """Write which rows have labels to the arrays in `folder`, if not all have."""
        if self.unlabelled is not None:
            transfer_set.write_mask(folder, self.split, self.labelled, self.rows)

    def batches(self, size: int, columns: list[str], task: TaskSpec) -> Iterator[pa.RecordBatch]:
        """Yield `columns` and the targets of at most `size` rows at a time."""
        with _opened(self.table) as file:
            kind = file.schema_arrow.field(task.column).type
            yield from file.iter_batches(batch_size=size, columns=[*columns, task.column])
        if self.unlabelled is not None:
            with _opened(self.unlabelled) as file:
                for batch in file.iter_batches(batch_size=size, columns=columns):
                    zeros = pa.array([_zero(task)] * batch.num_rows, kind)
                    yield batch.append_column(task.column, zeros)


def _opened(table: Path) -> pq.ParquetFile:
    """Open a table that is read in batches; with `pre_buffer` all its row groups would be read at once."""
    return pq.ParquetFile(table, pre_buffer=False)


def count(table: Path) -> int:
    """Return the number of rows of a table."""
    return int(pq.read_metadata(table).num_rows)


def _zero(task: TaskSpec) -> Any:
    match task:
        case Classes():
            return 0
        case Labels():
            return []
        case Numbers():
            return [0.0] * task.width
        case _:
            raise AssertionError("params refuse rows without labels for tasks of words and texts")
