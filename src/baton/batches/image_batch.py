"""Pictures on their way to the model: what is still to be done to them is done by `to`, on the device, and by `inputs`.

Input: what `image_batches` puts together on the host. Output: a `Batch` of `batches`. Nothing here waits for a device.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from baton.batches.augmentation import device_augmentation
from baton.batches.augmentation import operations as on
from baton.batches.augmentation.device_augmentation import Variation
from baton.batches.augmentation.mixing import Mixing
from baton.batches.device_images import Resident
from baton.images.framing import Framing


@dataclass(frozen=True)
class ImageBatch:
    """Pictures, and what is still to be done to them. `rows` are their positions in the split."""

    pixels: torch.Tensor  # (batch, or more: partners, channels, height, width) uint8; with `resident`: (batch or more,) int64, rows there
    labels: torch.Tensor  # (batch,) int64, or shares of classes (batch, classes) float32
    rows: torch.Tensor  # (batch,) int64
    framing: Framing | None = None  # None: the pixels are those of the model's input already
    partners: torch.Tensor | None = None  # (batch,) int64: places in `pixels`
    mixing: Mixing | None = None  # with the partners
    resident: Resident | None = None  # where `to` takes the pictures from
    variations: tuple[Variation, ...] = ()  # what `to` does to them
    size: int | None = (
        None  # `inputs` are filled up to so many, so that all batches have one shape: what comes after the batch counts for nothing
    )

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def inputs(self) -> tuple[torch.Tensor]:
        """Pixels (batch, channels, height, width) at the model's input size: float32 in 0..255, uint8 where none had to be computed.

        With `size` there are so many of them, the last ones filled in.
        """
        assert self.resident is None, "`to` was not asked"
        assert not self.variations, "`to` was not asked"
        pixels = self.pixels if self.framing is None else framed(self.pixels, self.framing)
        if self.mixing is not None and self.partners is not None:
            pixels = self.mixing.pixels(pixels[: len(self)], pixels[self.partners])
        missing = (self.size or 0) - len(self)
        return (torch.cat([pixels, pixels[:1].expand(missing, -1, -1, -1)]) if missing > 0 else pixels,)

    @property
    def shape(self) -> tuple[int, int]:
        """(batch, height of the model's input)."""
        if self.framing:
            return len(self), self.framing.size[0]
        return len(self), self.variations[0].size[0] if self.variations else self.pixels.shape[2]

    def pin_memory(self) -> "ImageBatch":
        """See `Batch`."""
        pinned: ImageBatch = _mapped(self, lambda tensor: tensor.pin_memory())
        return pinned

    def to(self, device: torch.device) -> "ImageBatch":
        """See `Batch`. Pictures that are there already are taken, and those that are still to be varied are."""
        moved: ImageBatch = (
            self
            if device.type == "cpu"
            else _mapped(self, lambda tensor: tensor.to(device, non_blocking=True))
        )
        if moved.resident is None and not moved.variations:
            return moved
        pixels = moved.resident.pictures(moved.pixels) if moved.resident else moved.pixels
        if moved.variations:
            pixels = device_augmentation.apply(pixels, moved.variations).contiguous(
                memory_format=torch.channels_last
            )
        return dataclasses.replace(moved, pixels=pixels, resident=None, variations=())


def framed(pixels: torch.Tensor, frame: Framing) -> torch.Tensor:
    """Stored pictures (pictures, channels, height, width) of one shape -> the model's input: enlarged, and without the margin."""
    if tuple(pixels.shape[-2:]) != frame.canvas:
        pixels = on.resized(pixels.float(), frame.canvas, frame.interpolation)
    (top, left), (height, width) = frame.margin, frame.size
    return pixels[..., top : top + height, left : left + width]


def _mapped(part: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """The same with `change` made to every tensor of a batch, and of what is in it."""
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
