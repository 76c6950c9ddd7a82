"""Episodes: small tasks of a few classes and a few rows of each, for training and for tests.

An episode is a pure function of its key, such as (seed, step, number), so every model that is tested sees the
same ones. A step of training has `batch_size` of them, each a part of its own; processes share them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from baton.batches.sampler import Split
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


@dataclass(frozen=True)
class EpisodeBatches:
    """`steps` steps of `batch_size` episodes each, as one epoch.

    An episode has `blocks`: the number of rows of each class in each of them.
    """

    split: Split  # each row has one class
    classes: Sequence[NDArray[np.int64]]  # see `rows_of_classes`
    way: int
    blocks: tuple[int, ...]
    batch_size: int
    seed: int
    steps: int
    ids: Callable[[], Sequence[str]] = tuple  # of the rows; only read for error messages
    rank: int = 0
    ranks: int = 1

    @property
    def steps_per_epoch(self) -> int:
        """All steps."""
        return self.steps

    @cached_property
    def mean_length(self) -> float:
        """The mean cost of a sample."""
        return float(self.split.lengths.mean())

    def size(self, step: int) -> int:  # noqa: ARG002  all steps have the same size
        """Return the number of samples of a step."""
        return self.batch_size * self.way * sum(self.blocks)

    def names(self, step: int) -> list[str]:
        """Return the ids of these samples."""
        ids = self.ids()
        rows = np.concatenate([episode.ravel() for episode in self.episodes(step)])
        return [ids[row] if ids else f"row {row}" for row in rows]

    def episodes(self, step: int) -> list[NDArray[np.int64]]:
        """Return the rows of each episode of a step, (way, rows of a class)."""
        return [
            draw(self.classes, self.way, sum(self.blocks), (self.seed, step, number))
            for number in range(self.batch_size)
        ]

    def micro_batches(self, step: int) -> list[tuple[Batch, float]]:
        """Return this rank's episodes, each with its share of the step; a rank without one gets share 0.

        A batch has the rows of the first class, then those of the next.
        """
        episodes = self.episodes(step)
        own = episodes[self.rank :: self.ranks]
        if not own:
            return [(self._batch(episodes[0], step), 0.0)]
        return [(self._batch(episode, step), 1 / len(episodes)) for episode in own]

    def _batch(self, episode: NDArray[np.int64], step: int) -> Batch:
        parts = np.split(episode, np.cumsum(self.blocks)[:-1], axis=1)  # each (way, rows of a class)
        made = [self.split.training_batch(part.ravel(), episode.ravel(), self.seed, step) for part in parts]
        return made[0] if len(made) == 1 else EpisodeBatch(tuple(made))
