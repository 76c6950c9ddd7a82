"""Batches for losses that compare the samples of a group: a step has whole groups, which processes share."""

import abc
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from baton.batches.sampler import Split
from baton.contracts.batch import Batch


@dataclass(frozen=True, kw_only=True)
class GroupedBatches(abc.ABC):
    """`steps` steps as one epoch; a group of a step is never parted."""

    split: Split  # each row has one class
    seed: int
    steps: int
    ids: Callable[[], Sequence[str]] = tuple  # of the rows; only read for error messages
    rank: int = 0
    ranks: int = 1

    @abc.abstractmethod
    def groups(self, step: int) -> list[NDArray[np.int64]]:
        """Return the rows of each group of a step, a pure function of (seed, step)."""

    def _batch(self, group: NDArray[np.int64], step: int) -> Batch:
        """Return the batch of a group."""
        return self.split.training_batch(group, group, self.seed, step)

    @property
    def steps_per_epoch(self) -> int:
        """All steps."""
        return self.steps

    @property
    def mean_length(self) -> float:
        """The mean cost of a sample."""
        return float(self.split.lengths.mean())

    @abc.abstractmethod
    def size(self, step: int) -> int:
        """Return the number of samples of a step."""

    def names(self, step: int) -> list[str]:
        """Return the ids of these samples."""
        ids = self.ids()
        return [
            ids[row] if ids else f"row {row}" for group in self.groups(step) for row in group.ravel().tolist()
        ]

    def micro_batches(self, step: int) -> list[tuple[Batch, float]]:
        """Return this rank's groups, each with its share of the step; a rank without one gets share 0."""
        groups = self.groups(step)
        own = groups[self.rank :: self.ranks]
        if not own:
            return [(self._batch(groups[0], step), 0.0)]
        return [(self._batch(group, step), 1 / len(groups)) for group in own]
