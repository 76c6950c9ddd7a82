"""Batches of clips of sound in evaluation, where a longer clip is read in several parts.

Input: arrays of `tokenize`, in which the parts of a clip are side by side in one image. Output: `ClipSplit`,
a `sampler.Split`; a model's outputs for the parts of a clip are averaged by `per_sample`.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from baton.arrays.image_arrays import ImageArrays
from baton.batches.movable import Movable
from baton.contracts.batch import Batch
from baton.contracts.targets import Targets


@dataclass(frozen=True)
class ClipBatch(Movable):
    """The parts of clips, one clip after the other. `rows` are the clips' positions in the split."""

    pixels: torch.Tensor  # (parts, 1, bands, frames) uint8
    counts: torch.Tensor  # (batch,) int64: parts of each clip
    targets: torch.Tensor  # see `Batch`
    rows: torch.Tensor  # (batch,) int64

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def units(self) -> torch.Tensor:
        """See `Batch`."""
        return self.rows

    @property
    def bounds(self) -> None:
        """See `Batch`."""
        return

    @property
    def inputs(self) -> tuple[torch.Tensor]:
        """The parts' pixels, (parts, 1, bands, frames) uint8."""
        return (self.pixels,)

    @property
    def shape(self) -> tuple[int, int]:
        """The shape (parts, bands)."""
        return self.pixels.shape[0], self.pixels.shape[2]


def per_sample(batch: Batch, outputs: torch.Tensor) -> torch.Tensor:
    """Return the mean over each clip's parts of outputs (parts, width); of other batches the outputs."""
    if not isinstance(batch, ClipBatch):
        return outputs
    return torch.segment_reduce(outputs, "mean", lengths=batch.counts, axis=0)


@dataclass(frozen=True)
class ClipSplit:
    """The clips of one split, as evaluation reads them; `frames` is the width of a part."""

    arrays: ImageArrays  # (bands, parts * frames) of each clip
    frames: int

    def __len__(self) -> int:
        return len(self.arrays)

    @property
    def targets(self) -> Targets:
        """The targets of the clips."""
        return self.arrays.targets

    @property
    def units(self) -> None:
        """See `Split`."""
        return

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """The number of parts of each clip, (clips,): what it costs."""
        return self.windows

    @cached_property
    def windows(self) -> NDArray[np.int64]:
        """The number of parts of each clip, (clips,)."""
        return self.arrays.shapes[:, 1].astype(np.int64) // self.frames

    def packed(self) -> "ClipSplit":
        """See `Split`."""
        return self

    def batch(self, rows: NDArray[np.int64]) -> ClipBatch:
        """Return all parts of the clips at `rows` (batch,)."""
        return self._batch(rows, [self._parts(row) for row in rows])

    def first(self, rows: NDArray[np.int64]) -> ClipBatch:
        """Return the first part of each of the clips at `rows` (batch,)."""
        return self._batch(rows, [self._parts(row)[:1] for row in rows])

    def training_batch(
        self,
        rows: NDArray[np.int64],
        step_rows: NDArray[np.int64],  # noqa: ARG002
        seed: int,  # noqa: ARG002
        epoch: int,  # noqa: ARG002
    ) -> ClipBatch:
        """Return the first part of each clip, unchanged; train itself is a split of images."""
        return self.first(rows)

    def _parts(self, row: int) -> NDArray[np.uint8]:
        """Return the parts of a clip, (parts, 1, bands, frames)."""
        wide = self.arrays.image(row)  # (bands, parts * frames, 1)
        return wide.reshape(len(wide), 1, -1, self.frames).transpose(2, 1, 0, 3)

    def _batch(self, rows: NDArray[np.int64], parts: list[NDArray[np.uint8]]) -> ClipBatch:
        return ClipBatch(
            torch.from_numpy(np.concatenate(parts)),
            torch.tensor([len(own) for own in parts]),
            torch.from_numpy(self.targets.take(rows)),
            torch.from_numpy(rows.astype(np.int64)),
        )
