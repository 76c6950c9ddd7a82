"""Episodes: small tasks of a few classes and a few rows of each, for training and for tests.

An episode is a pure function of its key, such as (seed, step, number), so every model that is tested sees the
same ones. A step of training has `batch_size` of them, each a part of its own; processes share them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from baton.batches.grouped_batches import GroupedBatches
from baton.contracts.batch import Batch
from baton.contracts.targets import Targets
from baton.errors import TrainingError


def draw(
    classes: Sequence[NDArray[np.int64]], way: int, each: int, key: tuple[int, ...]
) -> NDArray[np.int64]:
    """Return the rows of an episode, (way, each): those of a class together, none twice.

    Args:
        classes: the rows of each class, from `rows_of_classes`.
        way: the number of classes.
        each: the number of rows of each, support and queries together.
        key: what the draw depends on.
    """
    random = np.random.default_rng(key)
    chosen = random.permutation(len(classes))[:way]
    return np.stack([random.choice(classes[one], each, replace=False) for one in chosen])


def rows_of_classes(
    targets: Targets, way: int, each: int, split: str, section: str
) -> list[NDArray[np.int64]]:
    """Return the rows of each class, in the order of the classes.

    Args:
        targets: classes of the rows of a split.
        way: the fewest classes.
        each: the fewest rows of a class; classes without rows do not count.
        split: the name of the split, for messages.
        section: the section of params that asks for episodes, for messages.

    Raises:
        TrainingError: there are too few classes, or rows of one.
    """
    labels, names = targets.all, targets.spec.names
    found = {names[label]: np.flatnonzero(labels == label) for label in np.unique(labels)}
    if len(found) < way:
        raise TrainingError(
            f"{split} has too few classes for an episode",
            got=f"{len(found)} classes",
            expected=f"at least {way} ({section}.way)",
            hint=f"lower {section}.way",
        )
    if few := [f"{name} {len(rows)}" for name, rows in found.items() if len(rows) < each]:
        raise TrainingError(
            f"classes of {split} have too few rows for an episode",
            got=f"{', '.join(few[:5])}{' and others' if len(few) > 5 else ''}",
            expected=f"at least {each} rows of each class, none of which an episode has twice",
            hint=f"lower shots, queries or steps of an episode in {section}, or add rows",
        )
    return list(found.values())


@dataclass(frozen=True)
class EpisodeBatch:
    """An episode whose rows are read in several blocks, one after the other."""

    blocks: tuple[Batch, ...]

    def __len__(self) -> int:
        return sum(map(len, self.blocks))

    @property
    def inputs(self) -> tuple["EpisodeBatch"]:
        """The episode itself: a model reads its blocks in turn."""
        return (self,)

    @property
    def targets(self) -> torch.Tensor:
        """The classes of the rows, (batch,)."""
        return torch.cat([block.targets for block in self.blocks])

    @property
    def rows(self) -> torch.Tensor:
        """See `Batch`."""
        return torch.cat([block.rows for block in self.blocks])

    @property
    def units(self) -> torch.Tensor:
        """See `Batch`."""
        return self.rows

    @property
    def bounds(self) -> None:
        """See `Batch`."""
        return

    @property
    def shape(self) -> tuple[int, int]:
        """The largest shape of a block."""
        return max(block.shape for block in self.blocks)

    def pin_memory(self) -> "EpisodeBatch":
        """See `Batch`."""
        return EpisodeBatch(tuple(block.pin_memory() for block in self.blocks))

    def to(self, device: torch.device) -> "EpisodeBatch":
        """See `Batch`."""
        return EpisodeBatch(tuple(block.to(device) for block in self.blocks))


@dataclass(frozen=True, kw_only=True)
class EpisodeBatches(GroupedBatches):
    """Steps of `batch_size` episodes each.

    An episode has `blocks`: the number of rows of each class in each of them. A batch has the rows of the
    first class, then those of the next.
    """

    classes: Sequence[NDArray[np.int64]]  # see `rows_of_classes`
    way: int
    blocks: tuple[int, ...]
    batch_size: int

    def size(self, step: int) -> int:  # noqa: ARG002  all steps have the same size
        """Return the number of samples of a step."""
        return self.batch_size * self.way * sum(self.blocks)

    def groups(self, step: int) -> list[NDArray[np.int64]]:
        """Return the rows of each episode of a step, (way, rows of a class)."""
        return [
            draw(self.classes, self.way, sum(self.blocks), (self.seed, step, number))
            for number in range(self.batch_size)
        ]

    def _batch(self, group: NDArray[np.int64], step: int) -> Batch:
        parts = np.split(group, np.cumsum(self.blocks)[:-1], axis=1)  # each (way, rows of a class)
        made = [self.split.training_batch(part.ravel(), group.ravel(), self.seed, step) for part in parts]
        return made[0] if len(made) == 1 else EpisodeBatch(tuple(made))
