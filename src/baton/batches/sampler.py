"""Samples -> batches. A batch is a pure function of (seed, epoch, position), so the loader's whole state is one integer.

Samples of similar length share a batch: an epoch's permutation is cut into pools, each pool is sorted by length and cut into batches, and
the batches are shuffled. Little padding is computed and the order stays random. Images are all alike, and stay as they were drawn.
A batch has a number of samples, or as many documents as fit a number of tokens.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from baton.batches import token_budget
from baton.errors import TrainingError

POOL_BATCHES = 50


class Batch(Protocol):
    """Some samples as a model takes them."""

    @property
    def inputs(self) -> tuple[Any, ...]:
        """The arguments of the model: tensors, each (batch, …), or what packed documents need."""
        ...

    @property
    def labels(self) -> torch.Tensor:
        """(batch,) int64, or shares of classes (batch, classes) float32 where samples are mixed."""
        ...

    @property
    def rows(self) -> torch.Tensor:
        """Positions in the split, (batch,) int64."""
        ...

    @property
    def shape(self) -> tuple[int, int]:
        """(batch, length): what memory depends on."""
        ...

    def __len__(self) -> int: ...

    def pin_memory(self) -> "Batch":
        """A copy from which `to` does not wait; torch's DataLoader calls this."""
        ...

    def to(self, device: torch.device) -> "Batch":
        """Copy to a device; asynchronous from pinned memory to CUDA."""
        ...


class Split(Protocol):
    """One split, memory-mapped."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """(samples,)."""
        ...

    @property
    def lengths(self) -> NDArray[np.int64]:
        """What a sample costs, (samples,)."""
        ...

    @property
    def windows(self) -> NDArray[np.int64]:
        """Sequences that a sample is read in, (samples,)."""
        ...

    def __len__(self) -> int: ...

    def packed(self) -> "Split":
        """The same samples in batches without padding; pictures have none."""
        ...

    def batch(self, rows: NDArray[np.int64]) -> Batch:
        """The samples at `rows` (batch,), as they are."""
        ...

    def training_batch(
        self, rows: NDArray[np.int64], step_rows: NDArray[np.int64], seed: int, epoch: int
    ) -> Batch:
        """The samples at `rows` as training sees them in this epoch; `step_rows` are all rows of the optimizer step."""
        ...


@dataclass(frozen=True)
class TrainingBatches:
    """Shuffled, length-bucketed batches without end; `steps_per_epoch` of them are one pass over the data.

    A last batch with less than `smallest` samples for each rank joins the one before it.

    Raises:
        TrainingError: a batch, or all of train, cannot give each part its `smallest` samples; the longest document does not fit `tokens`.
    """

    split: Split
    batch_size: int | None  # over all ranks; None: `tokens` says how much
    accumulation: int
    seed: int
    ids: Callable[[], Sequence[str]] = tuple  # of the rows; read only for error messages
    rank: int = 0
    ranks: int = 1
    smallest: int = 1  # samples that the model needs at once
    tokens: int | None = None  # of a batch at most, over all ranks, padding not counted

    def __post_init__(self) -> None:
        if self.smallest == 1 or self.batch_size is None:
            return
        parts = self.accumulation * self.ranks
        how = f"batch_size {self.batch_size}, accumulation {self.accumulation}, {self.ranks} processes, {len(self.split)} rows of train"
        if self.batch_size < self.smallest * parts:
            expected = f"a batch_size of at least {self.smallest * parts}: {self.smallest} samples for each part of each process"
            hint = "raise batch_size, or lower accumulation or runtime.processes"
            raise TrainingError(
                "parts of a step are too small for batch normalisation", got=how, expected=expected, hint=hint
            )
        if len(self.split) < self._least:
            hint = "add rows, or lower runtime.processes"
            raise TrainingError(
                "train is too small for batch normalisation",
                got=how,
                expected=f"{self._least} rows or more",
                hint=hint,
            )

    @property
    def _least(self) -> int:
        """Samples of a step; where one is enough for the model, a rank may be left without."""
        return self.smallest * self.ranks if self.smallest > 1 else 1

    @cached_property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in one pass; the last batch of a pass may be smaller."""
        if self.batch_size is None:
            assert self.tokens is not None
            return token_budget.steps(self.split.lengths, self.tokens)
        whole, rest = divmod(len(self.split), self.batch_size)
        return max(whole + (rest >= self._least), 1)

    @property
    def mean_length(self) -> float:
        """What a sample costs."""
        return float(self.split.lengths.mean())

    def rows(self, step: int) -> NDArray[np.int64]:
        """Rows of the batch of global step `step` (counted from 0), (batch,)."""
        epoch, position = divmod(step, self.steps_per_epoch)
        plan = self._plans.get(
            epoch
        )  # held here: a thread that prepares batches may be an epoch ahead, and drop it meanwhile
        if plan is None:
            plan = self._plans[epoch] = _plan(
                self.split.lengths,
                self.batch_size,
                self.steps_per_epoch,
                np.random.default_rng((self.seed, epoch)),
            )
            for earlier in sorted(self._plans)[:-2]:  # two epochs' plans are worth their memory
                self._plans.pop(earlier, None)
        return plan[position]

    @cached_property
    def _plans(self) -> dict[int, list[NDArray[np.int64]]]:
        return {}

    def size(self, step: int) -> int:
        """Samples in the batch of global step `step`."""
        return len(self.rows(step))

    def names(self, step: int) -> list[str]:
        """Ids of these samples."""
        ids = self.ids()
        return [ids[row] if ids else f"row {row}" for row in self.rows(step)]

    def micro_batches(self, step: int) -> list[tuple[Batch, float]]:
        """This rank's samples of global step `step`, in `accumulation` parts or less, each with its share of the step's samples.

        A part has at least `smallest` samples. Where documents have several windows, it is cut further, so that it does not hold more
        windows than a part of documents of one window would: memory does not depend on the documents' lengths. With a budget of tokens
        parts have about as many of them. A rank that is left without samples gets one with share 0: it must take part in the exchange of
        gradients.
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
        return [(self._batch(part, rows, step), len(part) / len(rows)) for part in parts]

    def _own(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """This rank's of a step's rows, as many as the others have or one less.

        Each gets as many long documents. Where all cost the same, they are neighbours: a picture is mixed with the next one, and a rank
        that had every so-manyth would have to load all partners, as many again.
        """
        lengths = self.split.lengths[rows]
        if lengths.min() == lengths.max():
            return np.array_split(rows, self.ranks)[self.rank]
        return rows[self.rank :: self.ranks]

    def _batch(self, rows: NDArray[np.int64], step_rows: NDArray[np.int64], step: int) -> Batch:
        return self.split.training_batch(rows, step_rows, self.seed, step // self.steps_per_epoch)


def by_windows(rows: NDArray[np.int64], windows: NDArray[np.int64], most: int) -> list[NDArray[np.int64]]:
    """`rows` as they are if all are of one window, else in parts of at most `most` windows or of one sample; `windows`: of each sample."""
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
    """Rows of each of the `count` batches of one epoch, in order; the last that was cut takes what is left."""
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
