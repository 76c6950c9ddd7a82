"""Stored pictures -> batches for the model: uint8 on the host, brought to the model's input size on the device.

Training varies pictures on the host, or on the device (`ImageSplit.device`) by the same numbers: then stored pictures travel, or none at
all where they are there already (`resident`).

Input: arrays of `tokenize`, the model's input from meta.json, params `augmentation`. Output: `ImageSplit`, a `Split` of `batches`, whose
training batches are a pure function of (rows, the step's rows, seed, epoch): no bit of a sample depends on what else is in a batch.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from baton import params
from baton.arrays.image_arrays import ImageArrays
from baton.batches.augmentation import device_augmentation, pipeline, random_streams
from baton.batches.augmentation import operations as on
from baton.batches.augmentation.device_augmentation import Variation
from baton.batches.augmentation.mixing import mixing
from baton.batches.device_images import Resident
from baton.batches.image_batch import ImageBatch
from baton.images.framing import Framing, framing


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Around work in many small pieces: threads, of which the training may have many, would spend it waiting for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@dataclass(frozen=True)
class ImageSplit:
    """Pictures of one split; see the module. Where they are of several shapes, all are brought to the canvas, whatever a batch holds."""

    arrays: ImageArrays
    ids: Callable[[], Sequence[str]]  # of the rows; read once, and only if pictures are varied
    described: dict[str, Any]  # the model's input
    augmentation: params.Augmentation | None
    classes: int
    device: bool = False  # pictures are varied where `ImageBatch.to` brings them
    resident: Resident | None = None  # all of them, on the device; with `device`
    size: int | None = None  # of the model's input in training: see `ImageBatch`

    def __len__(self) -> int:
        return len(self.arrays)

    @property
    def labels(self) -> NDArray[np.int64]:
        """(images,)."""
        return self.arrays.labels

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """Height of the model's input, (images,): all cost the same."""
        return np.full(len(self), self._framing.size[0], dtype=np.int64)

    @property
    def windows(self) -> NDArray[np.int64]:
        """(images,): each is one."""
        return np.ones(len(self), dtype=np.int64)

    def packed(self) -> "ImageSplit":
        """See `Split`."""
        return self

    @_one_thread()
    def batch(self, rows: NDArray[np.int64]) -> ImageBatch:
        """The pictures at `rows` (batch,) as evaluation sees them."""
        places = torch.from_numpy(rows.astype(np.int64))
        if (
            self.resident and self.arrays.shape
        ):  # of several shapes each is resized on the host, to the bits that a served model sees
            return ImageBatch(places, self._labels(rows), places, self._framing, resident=self.resident)
        return ImageBatch(_tensor(self._canvases(rows)), self._labels(rows), places, self._framing)

    @_one_thread()
    def training_batch(
        self, rows: NDArray[np.int64], step_rows: NDArray[np.int64], seed: int, epoch: int
    ) -> ImageBatch:
        """The pictures at `rows` (batch,) as training sees them in `epoch`.

        A sample is mixed with the next of `step_rows`, the last with the first; a partner outside of `rows` is varied as it is there.
        """
        settings = self.augmentation
        if settings is None:
            return dataclasses.replace(self.batch(rows), size=self.size)
        mixes = settings.mixup > 0 or settings.cutmix > 0
        whole, partners = _with_partners(rows, step_rows) if mixes else (rows, None)
        drawn = pipeline.draw(self._keys[whole], seed, epoch, settings)
        pixels, variations = self._varied(whole, settings, drawn)
        batch = ImageBatch(
            pixels,
            self._labels(rows),
            torch.from_numpy(rows.astype(np.int64)),
            None if isinstance(settings.crop, params.ResizedCrop) else self._framing,
            resident=self.resident,
            variations=variations,
            size=self.size,
        )
        if partners is None:
            return batch
        mixed = mixing(settings, drawn.mixing[: len(rows)], self._framing.size)
        labels = mixed.classes(batch.labels, self._labels(whole[partners]), self.classes)
        return dataclasses.replace(batch, labels=labels, partners=torch.from_numpy(partners), mixing=mixed)

    def sheet(self, rows: NDArray[np.int64], seed: int, epochs: Sequence[int]) -> NDArray[np.uint8]:
        """What the model sees of some pictures: as in evaluation, and as in the training of each of `epochs`, mixed with each other.

        Returns:
            (rows, 1 + epochs, height, width, channels).
        """
        views = [self.batch(rows), *(self.training_batch(rows, rows, seed, epoch) for epoch in epochs)]
        shown = torch.stack(
            [view.inputs[0].round().to(torch.uint8) for view in views], dim=1
        )  # (rows, views, channels, height, width)
        return shown.permute(0, 1, 3, 4, 2).numpy()

    @cached_property
    def _framing(self) -> Framing:
        return framing(self.described)

    @cached_property
    def _keys(self) -> NDArray[np.uint64]:
        return random_streams.keys(self.ids())

    def _labels(self, rows: NDArray[np.int64]) -> torch.Tensor:
        return torch.from_numpy(self.arrays.labels[rows].astype(np.int64))

    def _varied(
        self, rows: NDArray[np.int64], settings: params.Augmentation, drawn: pipeline.Draws
    ) -> tuple[torch.Tensor, tuple[Variation, ...]]:
        """Pictures as they are varied; or as they are stored (their rows where they are resident), and what is to be done to them."""
        if not self.device:
            return pipeline.vary(self._cropped(rows, settings, drawn), settings, drawn), ()
        pixels = (
            torch.from_numpy(rows.astype(np.int64)) if self.resident else _tensor(self.arrays.filled(rows))
        )
        resized = isinstance(settings.crop, params.ResizedCrop)
        size = self._framing.size if resized else self.arrays.shape or self._framing.canvas
        moved = settings.crop is not None or self.arrays.shape is None
        windows = device_augmentation.windows(settings, drawn, self.arrays.shapes[rows]) if moved else None
        return pixels, device_augmentation.variations(
            settings, drawn, windows, size, self._framing.interpolation, self._framing.channels
        )

    def _cropped(
        self, rows: NDArray[np.int64], settings: params.Augmentation, drawn: pipeline.Draws
    ) -> torch.Tensor:
        """Pictures after the first operation, of one shape; (rows, channels, height, width)."""
        match settings.crop:
            case params.ResizedCrop() as crop:
                parts = (
                    pipeline.random_part(self.arrays.picture(row), crop, own)
                    for row, own in zip(rows, drawn.crop, strict=True)
                )
                return _tensor(np.stack([self._resized(part, self._framing.size) for part in parts]))
            case params.PaddedCrop(padding=padding):
                return _tensor(
                    self._canvases(
                        rows,
                        lambda pictures, places: pipeline.padded_crop(pictures, padding, drawn.crop[places]),
                    )
                )
            case None:
                return _tensor(self._canvases(rows))

    def _canvases(self, rows: NDArray[np.int64], change: "_Change | None" = None) -> NDArray[np.uint8]:
        """Pictures of one shape, each changed in its own resolution before it is resized; (rows, height, width, channels)."""
        if self.arrays.shape:
            pictures = self.arrays.stack(rows)
            return change(pictures, slice(None)) if change else pictures
        canvases = []
        for place, row in enumerate(rows):
            picture = self.arrays.picture(row)[None]
            own = change(picture, slice(place, place + 1)) if change else picture
            canvases.append(self._resized(own[0], self._framing.canvas))
        return np.stack(canvases)

    def _resized(self, picture: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
        """(height, width, channels) -> (*size, channels)."""
        own = _tensor(picture[None].copy())  # torch wants memory that can be written to
        return on.resized(own, size, self._framing.interpolation)[0].permute(1, 2, 0).numpy()


_Change = Callable[[NDArray[np.uint8], slice], NDArray[np.uint8]]  # pictures, and their places in the batch


def _with_partners(
    rows: NDArray[np.int64], step_rows: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rows and, after them, those of partners outside; and the place there of each row's partner, (rows,)."""
    following = dict(zip(step_rows.tolist(), np.roll(step_rows, -1).tolist(), strict=True))
    places = {row: place for place, row in enumerate(rows.tolist())}
    partners = [places.setdefault(following[row], len(places)) for row in rows.tolist()]
    return np.fromiter(places, np.int64, len(places)), np.array(partners, dtype=np.int64)


def _tensor(pictures: NDArray[np.uint8]) -> torch.Tensor:
    """(pictures, height, width, channels) -> the same memory as (pictures, channels, height, width), torch's channels last."""
    return torch.from_numpy(pictures).permute(0, 3, 1, 2)
