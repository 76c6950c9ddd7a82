"""Batches of several tasks, which take turns: a step belongs to one of them.

A batch is a pure function of (seed, step). An epoch has a fixed number of steps; the tasks' shares of them
are rounded up or down, with the right means over epochs (systematic sampling), and their order is random.
Whatever the shares, the main task goes once over its rows in an epoch, up to a step.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from baton import params
from baton.batches.sampler import TrainingBatches
from baton.contracts.batch import Batch
from baton.contracts.task_batch import TaskBatch

ORDER = 1  # the stream of random numbers of the tasks' order; that of a task's rows has no number


def shares(mixing: params.Mixing, rows: Sequence[int]) -> tuple[float, ...]:
    """Return each task's share of the steps, given its number of train rows; their sum is 1.

    As in T5 (Raffel et al. 2020, arXiv:1910.10683, section 3.5.2): equal, in proportion to the rows, or to
    their root of order `temperature`, which lies between the two.
    """
    match mixing:
        case params.UniformMixing():
            weights = np.ones(len(rows))
        case params.ProportionalMixing():
            weights = np.array(rows, np.float64)
        case params.TemperatureMixing():
            weights = np.array(rows, np.float64) ** (1 / mixing.temperature)
    return tuple(float(weight) for weight in weights / weights.sum())


@dataclass(frozen=True)
class AlternatingBatches:
    """The batches of each task, the main one first, and the tasks' shares of the steps."""

    tasks: Mapping[str, TrainingBatches]
    shares: tuple[float, ...]
    seed: int

    @cached_property
    def steps_per_epoch(self) -> int:
        """The number of steps in which the main task goes about once over its rows."""
        main = next(iter(self.tasks.values()))
        return max(round(main.steps_per_epoch / self.shares[0]), 1)

    @property
    def mean_length(self) -> float:
        """The mean cost of a sample of a step."""
        lengths = [own.mean_length for own in self.tasks.values()]
        return float(np.dot(self.shares, lengths))

    @cached_property
    def samples(self) -> int:
        """About the number of samples of an epoch."""
        means = [len(own.split) / own.steps_per_epoch for own in self.tasks.values()]
        return round(self.steps_per_epoch * float(np.dot(self.shares, means)))

    def place(self, step: int) -> tuple[str, int]:
        """Return the task of global step `step` (from 0), and its own number among that task's steps."""
        epoch, position = divmod(step, self.steps_per_epoch)
        order = self._order(epoch)
        index = int(order[position])
        own = int(self._before(epoch)[index] + np.count_nonzero(order[:position] == index))
        return list(self.tasks)[index], own

    def counts(self, steps: int) -> dict[str, int]:
        """Return how many of the first `steps` steps belong to each task."""
        epoch, position = divmod(steps, self.steps_per_epoch)
        found = self._before(epoch) + np.bincount(self._order(epoch)[:position], minlength=len(self.tasks))
        return dict(zip(self.tasks, map(int, found), strict=True))

    def size(self, step: int) -> int:
        """Return the number of samples in the batch of global step `step`."""
        task, own = self.place(step)
        return self.tasks[task].size(own)

    def names(self, step: int) -> list[str]:
        """Return the ids of these samples, each with its task."""
        task, own = self.place(step)
        return [f"{task} {name}" for name in self.tasks[task].names(own)]

    def micro_batches(self, step: int) -> list[tuple[Batch, float]]:
        """Return this rank's samples of global step `step`; see `TrainingBatches`."""
        task, own = self.place(step)
        return [(TaskBatch(task, part), share) for part, share in self.tasks[task].micro_batches(own)]

    def _order(self, epoch: int) -> NDArray[np.int64]:
        """Return the tasks of an epoch's steps, as indices, (steps,)."""
        found = self._orders.get(epoch)
        if found is None:
            random = np.random.default_rng((self.seed, epoch, ORDER))
            found = self._orders[epoch] = random.permutation(self._drawn(random))
            for earlier in sorted(self._orders)[:-2]:  # a thread that prepares batches may be an epoch ahead
                self._orders.pop(earlier, None)
        return found

    def _drawn(self, random: np.random.Generator) -> NDArray[np.int64]:
        """Return the tasks of an epoch's steps, as sorted indices, (steps,).

        Marks at equal distances, from a random start, each fall into the interval of a task.
        """
        marks = (np.arange(self.steps_per_epoch) + random.random()) / self.steps_per_epoch
        return np.searchsorted(np.cumsum(self.shares)[:-1], marks, side="right")

    def _before(self, epoch: int) -> NDArray[np.int64]:
        """Return the number of each task's steps before an epoch, (tasks,)."""
        for number in range(len(self._sums) - 1, epoch):
            random = np.random.default_rng((self.seed, number, ORDER))
            self._sums[number + 1] = self._sums[number] + np.bincount(
                self._drawn(random), minlength=len(self.tasks)
            )
        return self._sums[epoch]

    @cached_property
    def _orders(self) -> dict[int, NDArray[np.int64]]:
        return {}

    @cached_property
    def _sums(self) -> dict[int, NDArray[np.int64]]:
        """The sums so far, by epoch."""
        return {0: np.zeros(len(self.tasks), np.int64)}
