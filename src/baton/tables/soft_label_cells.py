"""What the cells of a file of soft labels say: a weight of each class, or the name of one class.

Input: a row's cells. Output: its numbers; and of the numbers of rows the probabilities of the classes.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baton.errors import DataError
from baton.tables import number_cells
from baton.tables.checks import SURROGATE
from baton.tables.rows import one_name

SHOWN = 20  # columns, classes or labels in a message
NEGATIVE = "is negative"
Names = Mapping[str, tuple[str, ...]]  # class -> what it is called
Probabilities = NDArray[np.float64]  # (rows, classes), each row sums to 1


@dataclass(frozen=True)
class ClassColumns:
    """A weight of each class, which need not sum to 1; a class called by several raw labels has their sum."""

    columns: tuple[str, ...]
    classes: tuple[int, ...]  # the class of each column

    @property
    def read(self) -> tuple[str, ...]:
        """The columns to read."""
        return self.columns

    @property
    def width(self) -> int:
        """How many numbers a row has."""
        return len(self.columns)

    def numbers(self, cells: Sequence[Any], id_: str) -> tuple[float, ...] | str:  # noqa: ARG002
        """Return the weights in a row's cells, or the fault."""
        found = []
        for name, cell in zip(self.columns, cells, strict=True):
            weight = number_cells.number(cell)
            if weight is None:
                return f"{name} is empty"
            if isinstance(weight, str):
                return f"{name} {weight}"
            if weight < 0:
                return f"{name} {NEGATIVE}: {weight:g}"
            found.append(weight)
        return tuple(found) if any(found) else "all weights are 0"

    def probabilities(self, numbers: NDArray[np.float64]) -> Probabilities:
        """Return the probabilities of rows of `numbers` (rows, columns)."""
        found = np.zeros((len(numbers), 1 + max(self.classes)))
        for place, own in enumerate(self.classes):
            found[:, own] += numbers[:, place]
        return np.asarray(found / found.sum(axis=1, keepdims=True))


@dataclass
class LabelColumn:
    """The name of a class, which gets all the probability."""

    path: Path
    column: str
    called: tuple[Names, ...]  # as classes may be called: the first that fits all rows counts
    codes: dict[str, int] = field(default_factory=dict)  # label -> its number
    rows: Counter[str] = field(default_factory=Counter)  # label -> rows
    first: dict[str, str] = field(default_factory=dict)  # label -> id of the first row

    @property
    def read(self) -> str:
        """The column to read."""
        return self.column

    @property
    def width(self) -> int:
        """How many numbers a row has."""
        return 1

    def numbers(self, cell: Any, id_: str) -> tuple[float, ...] | str:
        """Return the number of the label in a row's cell, or the fault."""
        label = one_name(cell)
        if isinstance(label, str):
            return label
        name = SURROGATE.sub("\ufffd", label.label)
        if not name:
            return f"{self.column} is empty"
        self.rows[name] += 1
        self.first.setdefault(name, id_)
        return (float(self.codes.setdefault(name, len(self.codes))),)

    def probabilities(self, numbers: NDArray[np.float64]) -> Probabilities:
        """Return the probabilities of rows of `numbers` (rows, 1).

        Raises:
            DataError: A label is none of the classes.
        """
        readings = [
            {label: place for place, own in enumerate(names.values()) for label in own}
            for names in self.called
        ]
        places = min(
            readings, key=lambda own: sum(self.rows[label] for label in self.codes if label not in own)
        )
        if unknown := [label for label in self.codes if label not in places]:
            raise self._unknown(unknown, list(places))
        classes = np.array([places[label] for label in self.codes], np.int64)  # (labels,)
        return np.asarray(np.eye(len(self.called[0]))[classes[numbers[:, 0].astype(np.int64)]])

    def _unknown(self, unknown: Sequence[str], known: Sequence[str]) -> DataError:
        lines = [
            f"\n    - {self.first[label]}: {label!r} ({self.rows[label]} rows)" for label in unknown[:SHOWN]
        ]
        return DataError(
            f"{self.path}: labels in column {self.column!r} are none of the classes",
            got="".join(lines) + more(unknown),
            expected=listed(known),
            hint="name classes as in data/clean/task.json, or as the keys of preprocess.label_names, or "
            "remove these rows",
        )


def listed(names: Sequence[str]) -> str:
    """Return the first names for a message."""
    return ", ".join(map(repr, names[:SHOWN])) + more(names)


def more(names: Sequence[str]) -> str:
    """Return how many names `listed` leaves out, for a message."""
    return f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
