"""Some rows of a split as a split of its own: what cross-validation trains and scores on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from baton.data.batches import Batch, Split

Fold = tuple[NDArray[np.int64], NDArray[np.int64]]  # rows to fit on, rows to score on


@dataclass(frozen=True)
class Part:
    """The samples of `whole` at `chosen` (samples,), in that order. `rows` of a batch stay those of `whole`."""

    whole: Split
    chosen: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.chosen)

    @property
    def labels(self) -> NDArray[np.int64]:
        """(samples,)."""
        return np.asarray(self.whole.labels)[self.chosen]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """What a sample costs, (samples,)."""
        return np.asarray(self.whole.lengths)[self.chosen]

    @property
    def windows(self) -> NDArray[np.int64]:
        """Sequences that a sample is read in, (samples,)."""
        return np.asarray(self.whole.windows)[self.chosen]

    def names(self, ids: Sequence[str]) -> list[str]:
        """Ids of the samples, from those of `whole`."""
        return [ids[row] for row in self.chosen]

    def batch(self, rows: NDArray[np.int64]) -> Batch:
        """See `Split`."""
        return self.whole.batch(self.chosen[rows])

    def training_batch(self, rows: NDArray[np.int64], step_rows: NDArray[np.int64], seed: int, epoch: int) -> Batch:
        """See `Split`."""
        return self.whole.training_batch(self.chosen[rows], self.chosen[step_rows], seed, epoch)


def folds(labels: NDArray[np.int64], count: int, seed: int) -> list[Fold]:
    """Rows to fit on and rows to score on, `count` times; stratified, a pure function of the arguments.

    A class with fewer rows than folds is missing from some of the parts that are scored.
    """
    place = np.empty(len(labels), np.int64)
    draw, start = np.random.default_rng((seed, len(labels))), 0
    for label in np.unique(labels):
        own = draw.permutation(np.flatnonzero(labels == label))
        place[own] = (start + np.arange(len(own))) % count  # goes on where the class before ended, so the folds are of one size
        start += len(own)
    return [(np.flatnonzero(place != fold), np.flatnonzero(place == fold)) for fold in range(min(count, len(labels)))]
