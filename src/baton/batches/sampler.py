"""Samples -> batches.

A batch is a pure function of (seed, epoch, position), so the loader's whole state is one integer.

Samples of similar length share a batch: an epoch's permutation is cut into pools, each pool is sorted by
length and cut into batches, and the batches are shuffled. This way little padding is computed and the order
stays random. Images all have the same length and keep the permutation's order. A batch has a fixed number of
samples, or as many documents as fit a token budget.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from baton.batches import token_budget
from baton.contracts.batch import Batch
from baton.contracts.ragged import Units
from baton.contracts.targets import Targets
from baton.errors import TrainingError

POOL_BATCHES = 50


class Split(Protocol):
    """One split, memory-mapped."""

    @property
    def targets(self) -> Targets:
        """The targets of the samples."""
        ...

    @property
    def units(self) -> Units | None:
        """The units of the samples, for each of which a model has an output; None: it has one per sample."""
        ...

    @property
    def lengths(self) -> NDArray[np.int64]:
        """The cost of each sample, (samples,)."""
        ...

    @property
    def windows(self) -> NDArray[np.int64]:
        """The number of sequences in which each sample is read, (samples,)."""
        ...

    def __len__(self) -> int: ...

    def packed(self) -> "Split":
        """Return the same samples in batches without padding; images have none."""
        ...

    def batch(self, rows: NDArray[np.int64]) -> Batch:
        """Return the samples at `rows` (batch,), unchanged."""
        ...

    def training_batch(
        self, rows: NDArray[np.int64], step_rows: NDArray[np.int64], seed: int, epoch: int
    ) -> Batch:
        """Return the samples at `rows` as training sees them in this epoch.

        `step_rows` are all rows of the optimizer step.
        """
        ...


@dataclass(frozen=True)
class TrainingBatches:
    """Endless shuffled, length-bucketed batches; `steps_per_epoch` of them are one pass over the data.

    If the last batch has fewer than `smallest` samples per rank, it is merged with the previous one.

    Raises:
        TrainingError: If a batch, or all of train, has fewer than `smallest` samples for each part, or if the
            longest document exceeds `tokens`.
    """

    split: Split
    batch_size: int | None  # over all ranks; None: `tokens` sets the size
    accumulation: int
    seed: int
    ids: Callable[[], Sequence[str]] = tuple  # of the rows; only read for error messages
    rank: int = 0
    ranks: int = 1
    smallest: int = 1  # the fewest samples that the model needs at once
    tokens: int | None = None  # the most tokens of a batch, over all ranks, without padding

    def __post_init__(self) -> None:
        if self.smallest == 1 or self.batch_size is None:
            return
        parts = self.accumulation * self.ranks
        how = (
            f"batch_size {self.batch_size}, accumulation {self.accumulation}, "
            f"{self.ranks} processes, {len(self.split)} rows of train"
        )
        if self.batch_size < self.smallest * parts:
            expected = (
                f"a batch_size of at least {self.smallest * parts}: "
                f"{self.smallest} samples for each part of each process"
            )
            hint = "raise batch_size, or lower accumulation or runtime.processes"
            raise TrainingError(
                "parts of a step are too small for batch normalisation", got=how, expected=expected, hint=hint
            )
        if len(self.split) < self._least:
            hint = "add rows, or lower runtime.processes"
            raise TrainingError(
                "train is too small for batch normalisation",
                got=how,
                expected=f"at least {self._least} rows",
                hint=hint,
            )

    @property
    def _least(self) -> int:
        """The fewest samples of a step; if the model needs only one, a rank may get none."""
        return self.smallest * self.ranks if self.smallest > 1 else 1

    @cached_property
    def steps_per_epoch(self) -> int:
        """The number of optimizer steps in one pass; the last batch of a pass may be smaller."""
        if self.batch_size is None:
            assert self.tokens is not None
            return token_budget.steps(self.split.lengths, self.tokens)
        whole, rest = divmod(len(self.split), self.batch_size)
        return max(whole + (rest >= self._least), 1)

    @property
    def mean_length(self) -> float:
        """The mean cost of a sample."""
        return float(self.split.lengths.mean())

    def rows(self, step: int) -> NDArray[np.int64]:
        """Return the rows of the batch of global step `step` (counted from 0), (batch,)."""
        epoch, position = divmod(step, self.steps_per_epoch)
        # Keep a reference: a thread that prepares batches may be an epoch ahead and drop the plan in the
        # meantime.
        plan = self._plans.get(epoch)
        if plan is None:
            plan = self._plans[epoch] = _plan(
                self.split.lengths,
                self.batch_size,
                self.steps_per_epoch,
                np.random.default_rng((self.seed, epoch)),
            )
            for earlier in sorted(self._plans)[:-2]:  # keep the plans of two epochs
                self._plans.pop(earlier, None)
        return plan[position]

    @cached_property
    def _plans(self) -> dict[int, list[NDArray[np.int64]]]:
        return {}

    def size(self, step: int) -> int:
        """Return the number of samples in the batch of global step `step`."""
        return len(self.rows(step))

    def names(self, step: int) -> list[str]:
        """Return the ids of these samples."""
        ids = self.ids()
        return [ids[row] if ids else f"row {row}" for row in self.rows(step)]

    def micro_batches(self, step: int) -> list[tuple[Batch, float]]:
        """Return this rank's samples of global step `step`, in parts with their share of the step's targets.

        There are at most `accumulation` parts, each with at least `smallest` samples. If documents have
        several windows, parts are split further, so that none has more windows than a part of single-window
        documents would: memory does not depend on the documents' lengths. With a token budget, parts have
        about the same number of tokens. A rank without samples gets one with share 0, because it must take
        part in the exchange of gradients.
        """
        rows = self.rows(step)
        own = self._own(rows)
        if not len(own):
            return [(self._batch(rows[:1], rows, step), 0.0)]
        count = min(self.accumulation, len(own) // self.smallest)
        if self.batch_size is None:
            parts = [own[places] for places in token_budget.cut(self.split.lengths[own], count)]
        else:
            most = -(-self.batch_size // (self.accumulation * self.ranks))
            parts = [
                few
                for part in np.array_split(own, count)
                for few in by_windows(part, self.split.windows, most)
            ]
        targets = self._targets
        whole = max(int(targets[rows].sum()), 1)  # a step may have no target at all
        return [(self._batch(part, rows, step), int(targets[part].sum()) / whole) for part in parts]

    @cached_property
    def _targets(self) -> NDArray[np.int64]:
        """The number of targets of each sample, (samples,)."""
        return self.split.targets.counts

    def _own(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return this rank's share of a step's rows; the ranks' numbers of rows differ by at most one.

        Each rank gets about as many long documents. If all samples cost the same, a rank's rows are
        neighbours: an image is mixed with the next one, so with strided rows a rank would have to load every
        partner, twice as many images.
        """
        lengths = self.split.lengths[rows]
        if lengths.min() == lengths.max():
            return np.array_split(rows, self.ranks)[self.rank]
        return rows[self.rank :: self.ranks]

    def _batch(self, rows: NDArray[np.int64], step_rows: NDArray[np.int64], step: int) -> Batch:
        return self.split.training_batch(rows, step_rows, self.seed, step // self.steps_per_epoch)


def by_windows(rows: NDArray[np.int64], windows: NDArray[np.int64], most: int) -> list[NDArray[np.int64]]:
    """Split `rows` into parts of at most `most` windows, or of one sample.

    They stay together if all have one window. `windows` has the number of windows of each sample.
    """
    counts = windows[rows]
    if counts.sum() == len(rows):
        return [rows]
    cuts, held = [], 0
    for place, count in enumerate(counts):
        if held and held + count > most:
            cuts.append(place)
            held = 0
        held += count
    return np.split(rows, cuts)


def _plan(
    lengths: NDArray[np.int64], batch_size: int | None, count: int, random: np.random.Generator
) -> list[NDArray[np.int64]]:
    """Return the rows of each of `count` batches of one epoch, in order; the last one cut takes the rest."""
    order = random.permutation(len(lengths))
    if batch_size is None:
        pools = token_budget.share(lengths[order], count) // POOL_BATCHES
        order = order[np.lexsort((lengths[order], pools))]
        batches = [order[places] for places in token_budget.cut(lengths[order], count)]
        return [batches[index] for index in random.permutation(count)]
    batches = []
    for start in range(0, len(order), POOL_BATCHES * batch_size):
        pool = order[start : start + POOL_BATCHES * batch_size]
        pool = pool[np.argsort(lengths[pool], kind="stable")]
        batches += [pool[begin : begin + batch_size] for begin in range(0, len(pool), batch_size)]
    batches[count - 1 :] = [np.concatenate(batches[count - 1 :])]
    return [batches[index] for index in random.permutation(count)]
