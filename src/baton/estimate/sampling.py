"""A few steps that stand for a whole training run. Pure functions.

Steps of long texts take several times as long as steps of short ones, so the sample is spread evenly over the
steps of an epoch in the order of their tokens, and the whole is found by tokens, not by the number of steps.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from baton import params
from baton.batches.sampler import TrainingBatches


@dataclass(frozen=True)
class Planned:
    """One training run: at most so much, if it may stop early."""

    steps: int
    tokens: int  # of all steps, without padding; for images, patches
    validations: int


def planned(settings: params.Training, batches: TrainingBatches) -> Planned:
    """Return what the training run with these settings (of one seed, long enough) does."""
    per_epoch = batches.steps_per_epoch
    return Planned(
        settings.epochs * per_epoch,
        settings.epochs * int(np.sum(batches.split.lengths)),
        settings.epochs * min(settings.evaluations_per_epoch, per_epoch),
    )


def tokens(batches: TrainingBatches, steps: Sequence[int]) -> int:
    """Return the tokens of some steps, without padding; for images, patches."""
    lengths = np.asarray(batches.split.lengths)
    return sum(int(lengths[batches.rows(step)].sum()) for step in steps)


def spread(costs: Sequence[int], count: int) -> list[int]:
    """Return up to `count` places, in ascending order, evenly spread over `costs` in their order of size."""
    order = sorted(range(len(costs)), key=lambda place: (costs[place], place))
    count = min(count, len(order))
    return sorted(order[int((place + 0.5) * len(order) / count)] for place in range(count))


def chosen(batches: TrainingBatches, warm_up: int, count: int) -> list[int]:
    """Return `warm_up` steps, the costliest of the first epoch among them, and `count` steps to time."""
    costs = [tokens(batches, [step]) for step in range(batches.steps_per_epoch)]
    costliest = max(range(len(costs)), key=costs.__getitem__)
    middle = spread(costs, 1)
    return [costliest, *middle * (warm_up - 1), *spread(costs, count)]


def some(lengths: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return up to `count` rows, evenly spread over the rows in the order of their lengths."""
    return np.asarray(spread(np.asarray(lengths).tolist(), count), np.int64)


@dataclass(frozen=True)
class Sample(TrainingBatches):
    """Some steps of `whole`, as one epoch."""

    whole: TrainingBatches = field(kw_only=True)
    steps: Sequence[int] = field(kw_only=True)

    @cached_property
    def steps_per_epoch(self) -> int:
        """See `TrainingBatches`."""
        return len(self.steps)

    def rows(self, step: int) -> NDArray[np.int64]:
        """See `TrainingBatches`."""
        return self.whole.rows(self.steps[step])


def sample(whole: TrainingBatches, steps: Sequence[int]) -> Sample:
    """Return these steps of `whole` as an epoch."""
    own = {each.name: getattr(whole, each.name) for each in fields(TrainingBatches)}
    return Sample(**own, whole=whole, steps=steps)
