"""Stored images -> batches for the model: uint8 on the host, resized to the model's input on the device.

Training varies images on the host, or on the device (`ImageSplit.device`) with the same random numbers: then
stored images are transferred, or none at all if they are already there (`resident`).

Input: arrays of `tokenize`, the model's input from meta.json, params `augmentation`. Output: `ImageSplit`, a
`sampler.Split`, whose training batches are a pure function of (rows, the step's rows, seed, epoch): no bit of
a sample depends on the other samples of its batch.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from baton import params
from baton.arrays.image_arrays import ImageArrays
from baton.batches.augmentation import device_augmentation, masking, pipeline, random_streams
from baton.batches.augmentation.device_augmentation import Variation
from baton.batches.augmentation.mixing import mixing, with_partners
from baton.batches.device_images import Resident
from baton.batches.image_batch import ImageBatch
from baton.contracts.input_spec import ImageInput
from baton.contracts.targets import Targets
from baton.images import enlarging
from baton.images.framing import Framing, framing


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Run work in many small pieces on one thread; torch's threads would mostly wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@dataclass(frozen=True)
class ImageSplit:
    """The images of one split; see the module. If their shapes differ, all are resized to the canvas."""

    arrays: ImageArrays
    ids: Callable[[], Sequence[str]]  # of the rows; read once, and only if images are varied
    reads: ImageInput  # the model's input
    augmentation: params.Augmentation | None
    device: bool = False  # images are varied on the device that `ImageBatch.to` copies them to
    resident: Resident | None = None  # all images on the device; requires `device`
    size: int | None = None  # of training batches: see `ImageBatch`

    def __len__(self) -> int:
        return len(self.arrays)

    @property
    def targets(self) -> Targets:
        """The targets of the images."""
        return self.arrays.targets

    @property
    def units(self) -> None:
        """See `Split`."""
        return

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """The height of the model's input, (images,): all images cost the same."""
        return np.full(len(self), self._framing.size[0], dtype=np.int64)

    @property
    def windows(self) -> NDArray[np.int64]:
        """Ones, (images,): each image is one window."""
        return np.ones(len(self), dtype=np.int64)

    def packed(self) -> "ImageSplit":
        """See `Split`."""
        return self

    @_one_thread()
    def batch(self, rows: NDArray[np.int64]) -> ImageBatch:
        """Return the images at `rows` (batch,) as evaluation sees them."""
        places = torch.from_numpy(rows.astype(np.int64))
        # If shapes differ, each image is resized on the host, to the same bits that a served model sees.
        if self.resident and self.arrays.shape:
            return ImageBatch(places, self._targets(rows), places, self._framing, resident=self.resident)
        return ImageBatch(_tensor(self._canvases(rows)), self._targets(rows), places, self._framing)

    @_one_thread()
    def training_batch(
        self, rows: NDArray[np.int64], step_rows: NDArray[np.int64], seed: int, epoch: int
    ) -> ImageBatch:
        """Return the images at `rows` (batch,) as training sees them in `epoch`.

        A sample is mixed with the next one in `step_rows`, the last with the first; a partner outside `rows`
        is varied as in its own batch.
        """
        settings = self.augmentation
        if settings is None:
            return dataclasses.replace(self.batch(rows), size=self.size)
        mixes = settings.mixup > 0 or settings.cutmix > 0
        whole, partners = with_partners(rows, step_rows) if mixes else (rows, None)
        drawn = pipeline.draw(self._keys[whole], seed, epoch, settings)
        pixels, variations = self._varied(whole, settings, drawn)
        batch = ImageBatch(
            pixels,
            self._targets(rows),
            torch.from_numpy(rows.astype(np.int64)),
            None if isinstance(settings.crop, params.ResizedCrop) else self._framing,
            resident=self.resident,
            variations=variations,
            size=self.size,
        )
        if partners is None:
            return batch
        mixed = mixing(settings, drawn.mixing[: len(rows)], self._framing.size)
        targets = mixed.targets(batch.targets, self._targets(whole[partners]), self.targets.spec.width)
        return dataclasses.replace(batch, targets=targets, partners=torch.from_numpy(partners), mixing=mixed)

    def sheet(self, rows: NDArray[np.int64], seed: int, epochs: Sequence[int]) -> NDArray[np.uint8]:
        """Return images as the model sees them: in evaluation, and in training in each of `epochs`.

        In training they are mixed with each other.

        Returns:
            (rows, 1 + epochs, height, width, channels).
        """
        views = [self.batch(rows), *(self.training_batch(rows, rows, seed, epoch) for epoch in epochs)]
        # The stack is (rows, views, channels, height, width).
        shown = torch.stack([view.inputs[0].round().to(torch.uint8) for view in views], dim=1)
        return shown.permute(0, 1, 3, 4, 2).numpy()

    @cached_property
    def _framing(self) -> Framing:
        return framing(self.reads)

    @cached_property
    def _keys(self) -> NDArray[np.uint64]:
        return random_streams.keys(self.ids())

    def _targets(self, rows: NDArray[np.int64]) -> torch.Tensor:
        return torch.from_numpy(self.targets.take(rows))

    def _varied(
        self, rows: NDArray[np.int64], settings: params.Augmentation, drawn: pipeline.Draws
    ) -> tuple[torch.Tensor, tuple[Variation, ...]]:
        """Return varied images, or stored images (their rows if they are resident) and their variations."""
        grey = masking.grey(self.reads.mean)
        if not self.device:
            return pipeline.vary(self._cropped(rows, settings, drawn), settings, drawn, grey), ()
        pixels = (
            torch.from_numpy(rows.astype(np.int64)) if self.resident else _tensor(self.arrays.filled(rows))
        )
        resized = isinstance(settings.crop, params.ResizedCrop)
        size = self._framing.size if resized else self.arrays.shape or self._framing.canvas
        moved = settings.crop is not None or self.arrays.shape is None
        windows = device_augmentation.windows(settings, drawn, self.arrays.shapes[rows]) if moved else None
        return pixels, device_augmentation.variations(
            settings, drawn, windows, size, self._framing.interpolation, self._framing.channels, grey
        )

    def _cropped(
        self, rows: NDArray[np.int64], settings: params.Augmentation, drawn: pipeline.Draws
    ) -> torch.Tensor:
        """Return the images after cropping, in one shape, (rows, channels, height, width)."""
        match settings.crop:
            case params.ResizedCrop() as crop:
                parts = (
                    pipeline.random_part(self.arrays.image(row), crop, own)
                    for row, own in zip(rows, drawn.crop, strict=True)
                )
                return _tensor(np.stack([self._resized(part, self._framing.size) for part in parts]))
            case params.PaddedCrop(padding=padding):
                return _tensor(
                    self._canvases(
                        rows,
                        lambda images, places: pipeline.padded_crop(images, padding, drawn.crop[places]),
                    )
                )
            case None:
                return _tensor(self._canvases(rows))

    def _canvases(self, rows: NDArray[np.int64], change: "_Change | None" = None) -> NDArray[np.uint8]:
        """Return images of one shape, (rows, height, width, channels); `change` applies before resizing."""
        if self.arrays.shape:
            images = self.arrays.stack(rows)
            return change(images, slice(None)) if change else images
        canvases = []
        for place, row in enumerate(rows):
            image = self.arrays.image(row)[None]
            own = change(image, slice(place, place + 1)) if change else image
            canvases.append(self._resized(own[0], self._framing.canvas))
        return np.stack(canvases)

    def _resized(self, image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
        """Resize (height, width, channels) to (*size, channels)."""
        own = _tensor(image[None].copy())  # torch requires writable memory
        return enlarging.resized(own, size, self._framing.interpolation)[0].permute(1, 2, 0).numpy()


_Change = Callable[[NDArray[np.uint8], slice], NDArray[np.uint8]]  # images, and their positions in the batch


def _tensor(images: NDArray[np.uint8]) -> torch.Tensor:
    """View (images, height, width, channels) as (images, channels, height, width), which is channels last."""
    return torch.from_numpy(images).permute(0, 3, 1, 2)
