"""What the cells of the label columns mean if a row has numbers; see `target_cells.TargetCells`."""

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache, partial
from itertools import repeat
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from baton.contracts.task_spec import Numbers
from baton.errors import DataError
from baton.tables import label_checks, label_drift, labels, row_sets
from baton.tables.checks import Check
from baton.tables.row_sets import Rows
from baton.tables.rows import Cell, RawTable, is_null
from baton.tables.unnamed_cells import UnnamedCells

SHOWN = 60  # characters of a cell in a message
WRITTEN = "write digits with a decimal point and no thousands separator, such as -1234.5 or 1.2e3"
LARGEST = 1e70  # of numbers: sums of fourth powers stay finite only below
HEAVY = 9.0  # kurtosis from which tails are heavy: that of an exponential distribution; a normal one has 3


@dataclass(frozen=True)
class NumberCells(UnnamedCells):
    """A cell is a number; a row has one of each column.

    `Row.label` is the JSON list of a row's numbers; '' if none of them is there.
    """

    columns: tuple[str, ...]
    loss: Literal["smooth_l1", "mse"]
    coverage: float

    word: ClassVar[str] = "number"
    words: ClassVar[str] = "numbers"
    found: ClassVar[str] = "predicted"
    names_leave: ClassVar[bool] = True
    joined: ClassVar[None] = None

    def read(self, value: Any) -> Cell | str:
        """Return the numbers of a row's cells (a tuple, if there are several columns), or the fault."""
        cells = value if isinstance(value, tuple) else (value,) * len(self.columns)
        found = dict(zip(self.columns, map(number, cells), strict=True))
        for name, one in found.items():
            if isinstance(one, str):
                return f"{name} {one}"
        absent = [name for name, one in found.items() if one is None]
        if len(absent) == len(found):
            return Cell("")
        if absent:
            return f"{absent[0]} is missing; a row needs each of {', '.join(self.columns)}, or none of them"
        return Cell(json.dumps(list(found.values())))

    def checks(self) -> dict[str, Check]:
        """Return the checks of missing numbers, and of equal texts with different ones."""
        return {
            "missing_label": label_checks.missing_label,
            "conflict": partial(label_checks.conflict, shown=str),
        }

    def strata(self, rows: Rows) -> Iterable[str]:
        """Return one stratum for all rows.

        Ranges of numbers could be strata only if rows that are appended later did not move their limits.
        """
        return repeat("", len(rows))

    def drift(self, rows: Rows) -> dict[str, Any] | None:
        """Compare the numbers of train and test, see `label_drift.of_numbers`."""
        samples = (
            Counter(row.label for row in row_sets.brief(rows) if row.part == part)
            for part in ("train", "test")
        )
        return label_drift.of_numbers(*samples)

    def too_few(self, train: Iterable[str]) -> str:
        """Return which number of train is constant; '' if none is."""
        values = matrix(train, len(self.columns))
        if len(values) and (name := self._constant(values)):
            place = self.columns.index(name)
            return (
                f"constant number: {name} is {values[0, place]:g} in all {len(values)} rows of train, so "
                "there is nothing to learn; leave the column out of label_column"
            )
        return "" if len(values) else "no numbers: train has no rows after the checks"

    def _constant(self, values: NDArray[np.float64]) -> str:
        # The deviation of equal numbers may be a rounding error, and that of different ones too small.
        constant = (not np.ptp(own) or not own.std() for own in values.T)
        return next((name for name, same in zip(self.columns, constant, strict=True) if same), "")

    def notes(self, table: RawTable, known: Mapping[str, str]) -> list[str]:  # noqa: ARG002
        """Return a note on each number of train that has heavy tails."""
        values = matrix((row.label for row in row_sets.brief(table.rows)), len(self.columns))
        if table.split != "train" or not len(values):
            return []
        notes = []
        for name, own in zip(self.columns, values.T, strict=True):
            tails = kurtosis(own)
            if tails > HEAVY:
                far = np.abs(own - own.mean()).max() / own.std()
                notes.append(
                    f"{table.path}: {name} has heavy tails (kurtosis {tails:.1f}; one row is {far:.1f} "
                    "deviations from the mean): a few rows dominate squared errors; keep task.loss "
                    "smooth_l1, or predict a logarithm"
                )
        return notes

    def summary(self, parts: Mapping[str, Rows]) -> dict[str, Any]:
        """Return number -> split -> its rows, mean, deviation, least, median and greatest value."""
        found = {
            split: matrix((row.label for row in row_sets.brief(rows)), len(self.columns))
            for split, rows in parts.items()
        }
        return {
            name: {split: _described(values[:, place]) for split, values in found.items()}
            for place, name in enumerate(self.columns)
        }

    def spec(self, names: list[str], train: Iterable[str]) -> Numbers:  # noqa: ARG002
        """Return the task, standardised by the rows of train.

        Raises:
            DataError: a number is the same in all of them.
        """
        values = matrix(train, len(self.columns))
        if name := self._constant(values):
            raise DataError(
                f"{name} is constant in train",
                got=f"{values[0, self.columns.index(name)]:g} in all {len(values)} rows left for train",
                expected="at least two different numbers",
                hint="leave the column out of preprocess.label_column, or raise preprocess.limit.train",
            )
        centre = tuple(math.fsum(own) / len(own) for own in values.T)
        scale = tuple(
            math.sqrt(math.fsum((own - middle) ** 2) / len(own))
            for own, middle in zip(values.T, centre, strict=True)
        )
        return Numbers(self.columns, centre, scale, self.loss, self.coverage)

    def type(self) -> Any:
        """Return the Arrow type of the clean column: a list of as many float64 as there are numbers."""
        import pyarrow as pa

        return pa.list_(pa.float64(), len(self.columns))

    def target(self, label: str, places: Mapping[str, int]) -> list[float]:  # noqa: ARG002
        """Return the numbers."""
        return list(numbers(label))


def number(value: Any) -> float | str | None:
    """Return the number of a cell, None if it is missing, or the fault."""
    if is_null(value):
        return None
    match value:
        case bool():
            return f"is {str(value).lower()}; a number is needed"
        case int() | float() | Decimal():
            return _usable(value)
        case str() | bytes():
            text = labels.normal(value if isinstance(value, str) else value.decode("utf-8", "replace"))
        case _:
            return f"is a {type(value).__name__}; a number is needed"
    if not text or text.lower() in labels.NULLS:
        return None
    if labels.NUMBER.fullmatch(text):
        return _usable(text)
    if text.lower().lstrip("+-") in ("inf", "infinity"):
        return f"{text!r} is infinite; a finite number is needed"
    return f"{text[:SHOWN]!r} is not a number: {WRITTEN}"


def _usable(value: float | Decimal | str) -> float | str:
    """Return the number, without a negative zero, or why its square could not be computed with."""
    try:
        found = float(value)
    except OverflowError:  # an integer of hundreds of digits
        found = math.inf
    if math.isinf(found):
        return f"{str(value)[:SHOWN]!r} is infinite; a finite number is needed"
    if abs(found) > LARGEST:
        return f"is {found:g}; a number of at most {LARGEST:g} is needed, so use a larger unit"
    return found + 0.0


@lru_cache(maxsize=65_536)
def numbers(label: str) -> tuple[float, ...]:
    """Return the numbers of a row's label."""
    return tuple(json.loads(label)) if label else ()


def matrix(found: Iterable[str], width: int) -> NDArray[np.float64]:
    """Return the numbers of labels, (rows, width), without rows that have none."""
    every = (one for label in found if label for one in numbers(label))
    return np.fromiter(every, np.float64).reshape(-1, width)


def kurtosis(values: NDArray[np.float64]) -> float:
    """Return the fourth standardised moment (3 of a normal distribution); 0 if the values are constant."""
    off = values - values.mean()
    spread = float((off**2).mean())
    return float((off**4).mean()) / spread**2 if spread else 0.0


def _described(values: NDArray[np.float64]) -> dict[str, float]:
    if not len(values):
        return {"rows": 0}
    return {
        "rows": len(values),
        "mean": float(values.mean()),
        "deviation": float(values.std()),
        "least": float(values.min()),
        "median": float(np.median(values)),
        "greatest": float(values.max()),
    }
