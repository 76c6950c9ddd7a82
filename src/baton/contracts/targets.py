"""The targets of one split: what its rows should be predicted as.

Files: `{split}.targets.npy` (int64), and `{split}.targets.offsets.npy` (int64, rows + 1) if the number of
targets differs from row to row.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baton.contracts.task_spec import Classes, Labels, TaskSpec
from baton.errors import DataError


@dataclass(frozen=True)
class Targets:
    """The targets of one split, memory-mapped."""

    spec: TaskSpec
    values: NDArray[np.int64]  # (rows,); ragged: (targets,), those of row i from offsets[i] to offsets[i + 1]
    offsets: NDArray[np.int64] | None = None  # (rows + 1,)

    def __len__(self) -> int:
        return len(self.values) if self.offsets is None else len(self.offsets) - 1

    def take(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Return the targets of `rows` (batch,) as losses and figures read them.

        - classes: (batch,) int64.
        - labels: (batch, width) float32, 1 for the row's labels, 0 for others.
        """
        match self.spec:
            case Classes():
                return np.asarray(self.values[rows], dtype=np.int64)
            case Labels(names=names):
                marked = np.zeros((len(rows), len(names)), np.float32)
                marked[self.part(rows).pairs] = 1
                return marked

    def part(self, rows: NDArray[np.int64]) -> "Targets":
        """Return the targets of `rows` alone, in that order."""
        if self.offsets is None:
            return Targets(self.spec, self.values[rows])
        starts, counts = self.offsets[rows], self.offsets[rows + 1] - self.offsets[rows]
        ends = np.cumsum(counts)
        places = np.arange(counts.sum()) + np.repeat(starts - (ends - counts), counts)
        return Targets(self.spec, self.values[places], np.concatenate([[0], ends]))

    @property
    def counts(self) -> NDArray[np.int64]:
        """The number of targets over which a row's loss is summed, (rows,)."""
        return np.ones(len(self), np.int64)

    @property
    def all(self) -> NDArray[Any]:
        """The targets of all rows, as `take` returns them."""
        return self.take(np.arange(len(self)))

    @property
    def pairs(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Each target as its row and its index into the task's names, both (targets,)."""
        if self.offsets is None:
            return np.arange(len(self)), np.asarray(self.values)
        return np.repeat(np.arange(len(self)), np.diff(self.offsets)), np.asarray(self.values)


def of_column(column: Any, spec: TaskSpec) -> Targets:
    """Return the targets in a column of a clean table (an Arrow array): integers, or lists of them.

    Raises:
        DataError: a cell is empty, or a target is not an integer.
    """
    import pyarrow as pa

    values = column.flatten() if spec.ragged else column
    if column.null_count or values.null_count or not pa.types.is_integer(values.type):
        raise DataError(
            f"column {spec.column} of the clean table has no targets",
            got=f"{column.type} with {column.null_count + values.null_count} empty cells",
            expected="integers, none empty",
            hint="run `dvc repro --force preprocess`",
        )
    # to_numpy() would import pandas, which takes longer than tokenizing thousands of documents.
    found = np.from_dlpack(values).astype(np.int64)
    if not spec.ragged:
        return Targets(spec, found)
    ends = np.cumsum(np.from_dlpack(column.value_lengths()), dtype=np.int64)
    return Targets(spec, found, np.concatenate([[0], ends]))


def paths(folder: Path, split: str, spec: TaskSpec) -> dict[str, Path]:
    """Return the files of a split's targets: name of the field -> path."""
    found = {"values": folder / f"{split}.targets.npy"}
    return found | ({"offsets": folder / f"{split}.targets.offsets.npy"} if spec.ragged else {})
