"""Batches of images with texts: an `ImageBatch` and a `TextBatch` of the same rows.

Input: the splits of both parts. Output: `ImageTextSplit`, a `sampler.Split`. Training varies the images as it
varies those of a model of images, by the same random numbers; texts are read as they are, padded.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from baton.batches.image_batch import ImageBatch
from baton.batches.image_batches import ImageSplit
from baton.batches.text_batch import PackedBatch, TextBatch
from baton.batches.text_batches import TextSplit
from baton.contracts.targets import Targets


@dataclass(frozen=True)
class ImageTextBatch:
    """Images and the texts of the same rows."""

    image: ImageBatch
    text: TextBatch

    def __len__(self) -> int:
        return len(self.text)

    @property
    def inputs(self) -> tuple[Any, ...]:
        """Pixels; token ids, mask and, if a document has several windows, their owners."""
        return *self.image.inputs, *self.text.inputs

    @property
    def targets(self) -> torch.Tensor:
        """See `Batch`."""
        return self.text.targets

    @property
    def rows(self) -> torch.Tensor:
        """See `Batch`."""
        return self.text.rows

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
        """The shape of the texts, (windows, length); that of the images varies with the rows alone."""
        return self.text.shape

    def pin_memory(self) -> "ImageTextBatch":
        """See `Batch`."""
        return ImageTextBatch(self.image.pin_memory(), self.text.pin_memory())

    def to(self, device: torch.device) -> "ImageTextBatch":
        """See `Batch`."""
        return ImageTextBatch(self.image.to(device), self.text.to(device))


@dataclass(frozen=True)
class ImageTextSplit:
    """The images and texts of one split. Samples are as long as their texts: all images cost the same."""

    image: ImageSplit
    text: TextSplit

    def __len__(self) -> int:
        return len(self.text)

    @property
    def targets(self) -> Targets:
        """The targets of the rows."""
        return self.text.targets

    @property
    def units(self) -> None:
        """See `Split`."""
        return

    @property
    def lengths(self) -> NDArray[np.int64]:
        """The number of tokens of each text, (rows,)."""
        return self.text.lengths

    @property
    def windows(self) -> NDArray[np.int64]:
        """The number of windows of each text, (rows,)."""
        return self.text.windows

    def packed(self) -> "ImageTextSplit":
        """See `Split`; models that read images are never packed."""
        return self

    def batch(self, rows: NDArray[np.int64]) -> ImageTextBatch:
        """Return the rows (batch,) as evaluation sees them."""
        return ImageTextBatch(self.image.batch(rows), self._texts(rows))

    def training_batch(
        self, rows: NDArray[np.int64], step_rows: NDArray[np.int64], seed: int, epoch: int
    ) -> ImageTextBatch:
        """Return the rows (batch,) as training sees them in `epoch`."""
        return ImageTextBatch(self.image.training_batch(rows, step_rows, seed, epoch), self._texts(rows))

    def _texts(self, rows: NDArray[np.int64]) -> TextBatch:
        batch = self.text.batch(rows)
        assert not isinstance(batch, PackedBatch), "texts next to images are padded"
        return batch
