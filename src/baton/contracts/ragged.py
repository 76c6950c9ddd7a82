"""Values of rows that have different numbers of them, such as one for each word of a text."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Ragged:
    """The values of row i are `values[offsets[i]:offsets[i + 1]]`; each belongs to a unit of the row."""

    values: NDArray[Any]  # (units, …)
    offsets: Integers  # (rows + 1,)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, rows: Any) -> "Ragged":
        """Return the values of `rows` alone, in that order: indices, a slice, or a mask (rows,)."""
        places, offsets = taken(self.offsets, np.arange(len(self))[rows])
        return Ragged(self.values[places], offsets)

    @property
    def counts(self) -> Integers:
        """The number of units of each row, (rows,)."""
        return np.diff(self.offsets)

    @property
    def owners(self) -> Integers:
        """The row of each unit, (units,)."""
        return np.repeat(np.arange(len(self)), self.counts)

    def sums(self, values: NDArray[Any]) -> NDArray[Any]:
        """Sum over each row's units: (units, …) -> (rows, …); a row without units has 0."""
        found, full = np.zeros((len(self), *values.shape[1:]), values.dtype), self.counts > 0
        if full.any():
            found[full] = np.add.reduceat(values, self.offsets[:-1][full], axis=0)
        return found


def taken(offsets: Integers, rows: Integers) -> tuple[Integers, Integers]:
    """Return the units of `rows`, (units,), and their offsets, (rows + 1,)."""
    starts, counts = offsets[rows], offsets[rows + 1] - offsets[rows]
    ends = np.cumsum(counts)
    places = np.arange(counts.sum()) + np.repeat(starts - (ends - counts), counts)
    return places, np.concatenate([[0], ends])


@dataclass(frozen=True)
class Units:
    """The units of a split's rows for which a model has an output, and where the model reads them."""

    # (units,) int64, a place in the split's concatenated tokens; -1: the unit is in a part of the text that
    # is not read. A model has no output for it.
    places: Integers
    offsets: Integers  # (rows + 1,)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def counts(self) -> Integers:
        """The number of units of each row, read or not, (rows,)."""
        return np.diff(self.offsets)

    def read(self, rows: Integers) -> Integers:
        """Return the units of `rows` that are read, in that order, (units,)."""
        return self.read_of(rows)[0]

    def read_of(self, rows: Integers) -> tuple[Integers, Integers]:
        """Return the units of `rows` that are read, (units,), and their offsets, (rows + 1,)."""
        places, offsets = taken(self.offsets, rows)
        read = self.places[places] >= 0
        return places[read], np.concatenate([[0], np.cumsum(read)])[offsets]

    def part(self, rows: Integers) -> "Units":
        """Return the units of `rows` alone, in that order."""
        places, offsets = taken(self.offsets, rows)
        return Units(self.places[places], offsets)
