"""A subset of a split's rows as a split, which cross-validation trains and scores on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baton.batches.sampler import Split
from baton.contracts.batch import Batch
from baton.contracts.ragged import Units
from baton.contracts.targets import Targets

Fold = tuple[NDArray[np.int64], NDArray[np.int64]]  # rows to fit on, rows to score on


@dataclass(frozen=True)
class Part:
    """The samples of `whole` at `chosen` (samples,), in that order. A batch's `rows` are those of `whole`."""

    whole: Split
    chosen: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.chosen)

    @property
    def targets(self) -> Targets:
        """The targets of the samples."""
        return self.whole.targets.part(self.chosen)

    @property
    def units(self) -> Units | None:
        """See `Split`; a batch's `units` are those of `whole`."""
        return None if self.whole.units is None else self.whole.units.part(self.chosen)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """The cost of each sample, (samples,)."""
        return np.asarray(self.whole.lengths)[self.chosen]

    @property
    def windows(self) -> NDArray[np.int64]:
        """The number of sequences in which each sample is read, (samples,)."""
        return np.asarray(self.whole.windows)[self.chosen]

    def packed(self) -> "Part":
        """See `Split`."""
        return replace(self, whole=self.whole.packed())

    def names(self, ids: Sequence[str]) -> list[str]:
        """Return the ids of the samples, given those of `whole`."""
        return [ids[row] for row in self.chosen]

    def batch(self, rows: NDArray[np.int64]) -> Batch:
        """See `Split`."""
        return self.whole.batch(self.chosen[rows])

    def training_batch(
        self, rows: NDArray[np.int64], step_rows: NDArray[np.int64], seed: int, epoch: int
    ) -> Batch:
        """See `Split`."""
        return self.whole.training_batch(self.chosen[rows], self.chosen[step_rows], seed, epoch)


def folds(labels: NDArray[Any], units: NDArray[np.int64], count: int, seed: int) -> list[Fold]:
    """Return `count` stratified folds: rows to fit on and rows to score on. A pure function of its arguments.

    Args:
        labels: (rows,), or (rows, labels) marks, of which a row's rarest label is the one that counts.
        units: (rows,); rows of one unit stay together. The class of a unit is that of its first row.
        count: the number of folds; if there are fewer units, their number.
        seed: the seed of the draw.

    Returns:
        The folds; a class with fewer units than folds is missing from the scored rows of some.
    """
    labels = _rarest(labels) if labels.ndim == 2 else labels
    _, firsts, unit, sizes = np.unique(units, return_index=True, return_inverse=True, return_counts=True)
    count, place = min(count, len(firsts)), np.empty(len(firsts), np.int64)
    draw, rows = np.random.default_rng((seed, len(labels))), np.zeros(count, np.int64)  # rows of each fold
    for label in np.unique(labels[firsts]):
        own = draw.permutation(np.flatnonzero(labels[firsts] == label))
        of_class = np.zeros(count, np.int64)
        # The largest first, each to the fold with the fewest rows of its class.
        for one in own[np.argsort(-sizes[own], kind="stable")]:
            place[one] = np.lexsort((rows, of_class))[0]
            of_class[place[one]] += sizes[one]
            rows[place[one]] += sizes[one]
    return [
        (np.flatnonzero(place[unit] != fold), np.flatnonzero(place[unit] == fold)) for fold in range(count)
    ]


def _rarest(marks: NDArray[Any]) -> NDArray[np.int64]:
    """Return the rarest label of each row, (rows,), the first of equals; -1 for a row without labels."""
    own = marks > 0
    counts = np.where(own, own.sum(axis=0), len(marks) + 1)  # (rows, labels)
    return np.where(own.any(axis=1), counts.argmin(axis=1), -1)
