"""The difference by slices of the rows: length, near-duplicates, values of kept columns.

Inputs: `Pairs` and the scores of rows -> rows of slices.csv, with p-values adjusted for all slices.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from baton.compare import comparison
from baton.compare.revisions.pairing import AFTER, BEFORE, Pairs
from baton.evaluate import proportions, seeds
from baton.tasks.figure_scale import Scale

COLUMNS = ("slice", "value", "rows", "before", "after", "difference", "low", "high", "p", "holm_p")


@dataclass(frozen=True)
class Slice:
    """A value of a property, and the main figure on its rows."""

    name: str
    value: str
    rows: int
    before: float
    after: float
    difference: float  # after minus before
    interval: tuple[float, float]
    p: float
    holm_p: float

    @property
    def cells(self) -> tuple[object, ...]:
        """The row of slices.csv."""
        figures = (self.before, self.after, self.difference, *self.interval, self.p, self.holm_p)
        return self.name, self.value, self.rows, *figures


def read(pairs: Pairs, main: Scale, confidence: float) -> list[Slice]:
    """Return every slice."""
    found = [
        _slice(pairs, name, str(value), np.array(group.values, dtype=object) == value, main, confidence)
        for name, group in pairs.groups.items()
        for value in group.order
    ]
    adjusted = proportions.holm([one.p for one in found])
    return [replace(one, holm_p=p) for one, p in zip(found, adjusted, strict=True)]


def _slice(
    pairs: Pairs, name: str, value: str, own: NDArray[np.bool_], main: Scale, confidence: float
) -> Slice:
    """Return the slice of the rows `own` (n,); its p is not adjusted yet."""
    task, targets = pairs.task, pairs.rows.targets
    before, after = (
        task.of_rows(targets, pairs.outputs[which], own, confidence)[0] for which in (BEFORE, AFTER)
    )
    old, new = (task.score(task.parts(targets, pairs.outputs[which])[own]) for which in (BEFORE, AFTER))
    low, high, p = paired(old, new, confidence)
    low, high = sorted((main.gain(low), main.gain(high)))  # a score is minus an error
    return Slice(name, value, int(own.sum()), before, after, after - before, (low, high), p, p)


def paired(
    old: NDArray[np.float64], new: NDArray[np.float64], confidence: float
) -> tuple[float, float, float]:
    """Return the interval of the mean of `new` - `old` (n,), and the p-value of no difference.

    Of rows that are right or wrong they are Tango's and McNemar's (`proportions`), of others Student's.
    """
    low, high = comparison.paired_rows(new, old, confidence)
    if low is None or high is None:
        return float("nan"), float("nan"), 1.0
    if comparison.right_or_wrong(old, new):
        return low, high, proportions.paired_p(int((new > old).sum()), int((old > new).sum()))
    p = seeds.student(new - old, confidence).p
    assert p is not None, "it has an interval"
    return low, high, p


def differing(slices: Sequence[Slice], limit: float) -> list[Slice]:
    """Return the slices in which the two differ, the largest difference first."""
    return sorted((one for one in slices if one.holm_p < limit), key=lambda one: -abs(one.difference))
