"""Batches in which classes are equally frequent, for losses that compare the samples of a batch.

A batch is a pure function of (seed, step): classes are drawn, then rows of each (Hermans et al. 2017, In
defense of the triplet loss, arXiv:1703.07737, section 2). A step has `accumulation` groups of samples, which
are compared within a group; processes share the groups.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from baton.batches.sampler import Split
from baton.contracts.batch import Batch


@dataclass(frozen=True)
class ClassBatches:
    """`steps` steps of `batch_size` samples each, as one epoch."""

    split: Split  # each row has one class
    batch_size: int
    accumulation: int
    seed: int
    steps: int
    ids: Callable[[], Sequence[str]] = tuple  # of the rows; only read for error messages
    rank: int = 0
    ranks: int = 1

    @property
    def steps_per_epoch(self) -> int:
        """All steps."""
        return self.steps

    @property
    def mean_length(self) -> float:
        """The mean cost of a sample."""
        return float(self.split.lengths.mean())

    def size(self, step: int) -> int:
        """Return the number of samples of a step."""
        return sum(map(len, self.groups(step)))

    def names(self, step: int) -> list[str]:
        """Return the ids of these samples."""
        ids = self.ids()
        return [ids[row] if ids else f"row {row}" for group in self.groups(step) for row in group]

    def groups(self, step: int) -> list[NDArray[np.int64]]:
        """Return the rows of each group of a step."""
        size = self.batch_size // self.accumulation
        return [
            _drawn(self._rows, size, np.random.default_rng((self.seed, step, group)))
            for group in range(self.accumulation)
        ]

    def micro_batches(self, step: int) -> list[tuple[Batch, float]]:
        """Return this rank's groups, each with its share of the step; a rank without one gets share 0."""
        groups = self.groups(step)
        own = groups[self.rank :: self.ranks]
        if not own:
            return [(self._batch(groups[0], step), 0.0)]
        return [(self._batch(group, step), 1 / len(groups)) for group in own]

    def _batch(self, rows: NDArray[np.int64], step: int) -> Batch:
        return self.split.training_batch(rows, rows, self.seed, step)

    @cached_property
    def _rows(self) -> list[NDArray[np.int64]]:
        """The rows of each class that has any."""
        labels = self.split.targets.all
        return [np.flatnonzero(labels == label) for label in np.unique(labels)]


def _drawn(classes: list[NDArray[np.int64]], size: int, random: np.random.Generator) -> NDArray[np.int64]:
    """Return `size` rows of up to `size` / 2 classes, in equal parts; those of a small class may repeat."""
    chosen = random.permutation(len(classes))[: max(size // 2, 1)]
    counts = np.full(len(chosen), size // len(chosen))
    counts[: size % len(chosen)] += 1
    return np.concatenate(
        [
            random.choice(classes[one], count, replace=count > len(classes[one]))
            for one, count in zip(chosen, counts, strict=True)
        ]
    )
