"""Arrays -> padded batches. A batch is a pure function of (seed, epoch, position), so the loader's whole state is one integer.

Documents of similar length share a batch: an epoch's permutation is cut into pools, each pool is sorted by length and cut into batches, and
the batches are shuffled. Little padding is computed and the order stays random.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from baton.data.text import WIDTH_MULTIPLE, TextArrays

POOL_BATCHES = 50


@dataclass(frozen=True)
class Batch:
    """Padded documents. `rows` are their positions in the split."""

    input_ids: torch.Tensor  # (batch, length) int64
    attention_mask: torch.Tensor  # (batch, length) int64, 1 for tokens
    labels: torch.Tensor  # (batch,) int64
    rows: torch.Tensor  # (batch,) int64

    def __len__(self) -> int:
        return len(self.rows)

    def to(self, device: torch.device) -> "Batch":
        """Copy to a device; asynchronous from pinned memory to CUDA."""
        if device.type == "cpu":
            return self
        parts = (self.input_ids, self.attention_mask, self.labels, self.rows)
        return Batch(*(part.pin_memory().to(device, non_blocking=True) for part in parts))


def collate(arrays: TextArrays, rows: NDArray[np.int64], pad: int) -> Batch:
    """Pad the documents at `rows` (batch,) to the longest of them, rounded up to a multiple of `WIDTH_MULTIPLE`."""
    starts, ends = arrays.offsets[rows], arrays.offsets[rows + 1]
    lengths = ends - starts
    width = -(-int(lengths.max()) // WIDTH_MULTIPLE) * WIDTH_MULTIPLE
    ids = np.full((len(rows), width), pad, dtype=np.int64)
    for index, (start, end) in enumerate(zip(starts, ends, strict=True)):
        ids[index, : end - start] = arrays.tokens[start:end]
    mask = (np.arange(width) < lengths[:, None]).astype(np.int64)  # (batch, length)
    return Batch(
        torch.from_numpy(ids), torch.from_numpy(mask), torch.from_numpy(arrays.labels[rows]), torch.from_numpy(rows.astype(np.int64))
    )


@dataclass(frozen=True)
class TrainingBatches:
    """Shuffled, length-bucketed batches without end; `steps_per_epoch` of them are one pass over the data."""

    arrays: TextArrays
    batch_size: int
    accumulation: int
    seed: int
    pad: int

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in one pass; the last batch of a pass may be smaller."""
        return -(-len(self.arrays) // self.batch_size)

    def rows(self, step: int) -> NDArray[np.int64]:
        """Rows of the batch of global step `step` (counted from 0), (batch,)."""
        epoch, position = divmod(step, self.steps_per_epoch)
        if epoch not in self._plans:
            self._plans.clear()  # only the current epoch's plan is worth its memory
            self._plans[epoch] = _plan(self.arrays.lengths, self.batch_size, self.seed, epoch)
        return self._plans[epoch][position]

    @cached_property
    def _plans(self) -> dict[int, list[NDArray[np.int64]]]:
        return {}

    def micro_batches(self, step: int) -> Iterator[Batch]:
        """The batch of global step `step`, in at most `accumulation` parts."""
        for rows in np.array_split(self.rows(step), self.accumulation):
            if len(rows):
                yield collate(self.arrays, rows, self.pad)


def prediction_batches(arrays: TextArrays, batch_size: int, pad: int) -> Iterator[Batch]:
    """Every document once, longest first (an allocation that is too large fails at once), similar lengths together."""
    order = np.argsort(-arrays.lengths, kind="stable")
    for start in range(0, len(order), batch_size):
        yield collate(arrays, order[start : start + batch_size], pad)


def _plan(lengths: NDArray[np.int64], batch_size: int, seed: int, epoch: int) -> list[NDArray[np.int64]]:
    """Rows of every batch of one epoch, in order."""
    random = np.random.default_rng((seed, epoch))
    order = random.permutation(len(lengths))
    batches: list[NDArray[np.int64]] = []
    for start in range(0, len(order), POOL_BATCHES * batch_size):
        pool = order[start : start + POOL_BATCHES * batch_size]
        pool = pool[np.argsort(lengths[pool], kind="stable")]
        batches += [pool[begin : begin + batch_size] for begin in range(0, len(pool), batch_size)]
    return [batches[index] for index in random.permutation(len(batches))]
