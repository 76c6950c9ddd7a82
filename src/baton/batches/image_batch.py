"""Batches of images: `to` and `inputs` do the remaining work on the device.

Input: batches assembled on the host by `image_batches`. Output: a `contracts.batch.Batch`. Nothing here
waits for a device.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from baton.batches.augmentation import device_augmentation
from baton.batches.augmentation.device_augmentation import Variation
from baton.batches.augmentation.mixing import Mixing
from baton.batches.device_images import Resident
from baton.images.enlarging import framed
from baton.images.framing import Framing


@dataclass(frozen=True)
class ImageBatch:
    """Images, and the work that remains to be done on them. `rows` are their positions in the split."""

    # (batch and any partners, channels, height, width) uint8; with `resident` the rows there, (batch and any
    # partners,) int64.
    pixels: torch.Tensor
    targets: torch.Tensor  # see `Batch`
    rows: torch.Tensor  # (batch,) int64
    framing: Framing | None = None  # None: the pixels already have the model's input size
    partners: torch.Tensor | None = None  # (batch,) int64: indices into `pixels`
    mixing: Mixing | None = None  # with the partners
    resident: Resident | None = None  # where `to` takes the images from
    variations: tuple[Variation, ...] = ()  # applied by `to`
    # `inputs` are padded to this number, so that all batches have the same shape; the padding is ignored.
    size: int | None = None

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
        """The pixels (batch, channels, height, width) at the model's input size.

        They are float32 from 0 to 255, or uint8 if none had to be computed. With `size`, the batch is padded
        to it.
        """
        assert self.resident is None, "call `to` first"
        assert not self.variations, "call `to` first"
        pixels = self.pixels if self.framing is None else framed(self.pixels, self.framing)
        if self.mixing is not None and self.partners is not None:
            pixels = self.mixing.pixels(pixels[: len(self)], pixels[self.partners])
        missing = (self.size or 0) - len(self)
        return (torch.cat([pixels, pixels[:1].expand(missing, -1, -1, -1)]) if missing > 0 else pixels,)

    @property
    def shape(self) -> tuple[int, int]:
        """The shape (batch, height of the model's input)."""
        if self.framing:
            return len(self), self.framing.size[0]
        return len(self), self.variations[0].size[0] if self.variations else self.pixels.shape[2]

    def pin_memory(self) -> "ImageBatch":
        """See `Batch`."""
        pinned: ImageBatch = _mapped(self, lambda tensor: tensor.pin_memory())
        return pinned

    def to(self, device: torch.device) -> "ImageBatch":
        """See `Batch`. Images already there are taken from `resident`, and `variations` are applied."""
        moved: ImageBatch = (
            self
            if device.type == "cpu"
            else _mapped(self, lambda tensor: tensor.to(device, non_blocking=True))
        )
        if moved.resident is None and not moved.variations:
            return moved
        pixels = moved.resident.images(moved.pixels) if moved.resident else moved.pixels
        if moved.variations:
            pixels = device_augmentation.apply(pixels, moved.variations).contiguous(
                memory_format=torch.channels_last
            )
        return dataclasses.replace(moved, pixels=pixels, resident=None, variations=())


def _mapped(part: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """Return a copy with `change` applied to every tensor of a batch and its parts."""
    if isinstance(part, torch.Tensor):
        return change(part)
    if isinstance(part, tuple):
        return tuple(_mapped(one, change) for one in part)
    if isinstance(part, CARRIERS):
        return dataclasses.replace(
            part,
            **{field.name: _mapped(getattr(part, field.name), change) for field in dataclasses.fields(part)},
        )
    return part


CARRIERS = (ImageBatch, Mixing, Variation, device_augmentation.Turn, device_augmentation.Erasing)
