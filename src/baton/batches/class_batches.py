"""Batches in which classes are equally frequent, for losses that compare the samples of a batch.

A batch is a pure function of (seed, step): classes are drawn, then rows of each (Hermans et al. 2017, In
defense of the triplet loss, arXiv:1703.07737, section 2). A step has `accumulation` groups of samples, which
are compared within a group; processes share the groups.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from baton.batches.grouped_batches import GroupedBatches


@dataclass(frozen=True, kw_only=True)
class ClassBatches(GroupedBatches):
    """Steps of `batch_size` samples each, in `accumulation` groups."""

    batch_size: int
    accumulation: int

    def size(self, step: int) -> int:  # noqa: ARG002  all steps have the same size
        """Return the number of samples of a step."""
        return self.batch_size // self.accumulation * self.accumulation

    def groups(self, step: int) -> list[NDArray[np.int64]]:
        """Return the rows of each group of a step."""
        size = self.batch_size // self.accumulation
        return [
            _drawn(self._rows, size, np.random.default_rng((self.seed, step, group)))
            for group in range(self.accumulation)
        ]

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
