"""The geometry of a model's input: which part of an image a model reads, and at which size.

An `ImageInput` -> its `Framing`. An image passes two steps, which together equal timm's transform for
evaluation: `tokenize` shrinks it to the canvas, which is the input size divided by `crop_fraction`; the batch
enlarges smaller images and removes the margin. This module does not import torch, so that `tokenize` starts
fast.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from baton.contracts.input_spec import ImageInput

GREY = 1


@dataclass(frozen=True)
class Framing:
    """The geometry of a model's input, in pixels; heights come before widths."""

    size: tuple[int, int]  # what the model reads
    canvas: tuple[int, int]  # the same with the margin that evaluation removes
    channels: int
    interpolation: str
    mode: Literal["center", "squash", "border"]
    border: tuple[int, ...]  # colour of the padding, (channels,)

    @property
    def margin(self) -> tuple[int, int]:
        """The top and left of the model's input on the canvas."""
        return _centred(self.canvas[0], self.size[0]), _centred(self.canvas[1], self.size[1])

    def shrinks(self, height: int, width: int) -> bool:
        """Return whether `stored` resizes an image of this size."""
        return self._resized(height, width) != (height, width)

    def stored_shape(self, height: int, width: int) -> tuple[int, int]:
        """Return the shape of `stored` for an image of this size; it never exceeds the canvas."""
        if self.mode == "squash":
            return self._resized(height, width)
        ratio = self._ratio(height, width)
        if ratio >= 1:
            return self.canvas
        aspect = max(round(self.canvas[0] * ratio), 1), max(round(self.canvas[1] * ratio), 1)
        nearer = min if self.mode == "center" else max  # crop or pad
        return nearer(height, aspect[0]), nearer(width, aspect[1])

    def stored(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Convert to the input's channels and shrink to the canvas; a smaller image keeps its resolution.

        Args:
            pixels: (height, width, 1 or 3).

        Returns:
            Pixels (height, width, channels) of the shape `stored_shape`. `center`: the shorter side is
            resized and the middle cropped to the input's aspect ratio; of a smaller image, the middle is
            cropped by whole pixels. `squash`: each side is resized independently. `border`: the longer side
            is resized and the rest filled with the mean colour.
        """
        # Colours become grey before resizing, as is usual.
        converted = recoloured(pixels, self.channels) if pixels.shape[2] > self.channels else pixels
        height, width = pixels.shape[:2]
        shape = self._resized(height, width)
        if shape != (height, width):
            converted = _resized(converted, shape, self.interpolation)
        target = self.stored_shape(height, width)
        converted = recoloured(converted, self.channels)
        if target == shape:
            return np.ascontiguousarray(converted)
        placed = np.full((*target, self.channels), self.border, dtype=np.uint8)
        (rows, from_rows), (columns, from_columns) = (
            self._place(shape[axis], target[axis], axis) for axis in (0, 1)
        )
        placed[rows, columns] = converted[from_rows, from_columns]
        return placed

    def _ratio(self, height: int, width: int) -> float:
        """Return how many times larger than the canvas an image is, along the side that `mode` resizes."""
        ratios = height / self.canvas[0], width / self.canvas[1]
        return max(ratios) if self.mode == "border" else min(ratios)

    def _resized(self, height: int, width: int) -> tuple[int, int]:
        """Return the shape after resizing, before cropping or padding, rounded as in timm and torchvision."""
        if self.mode == "squash":
            return min(height, self.canvas[0]), min(width, self.canvas[1])
        ratio = self._ratio(height, width)
        if ratio <= 1:
            return height, width
        if self.mode == "center" and self.canvas[0] == self.canvas[1]:
            side, shorter = self.canvas[0], min(height, width)
            return (
                (side, int(side * width / shorter))
                if height <= width
                else (int(side * height / shorter), side)
            )
        return max(round(height / ratio), 1), max(round(width / ratio), 1)

    def _place(self, length: int, target: int, axis: int) -> tuple[slice, slice]:
        """Return where an image of `length` is placed along an axis of `target` pixels: slices of both.

        On a full canvas, removing the margin leaves the same pixels as timm's single crop (or padding).
        """
        full = target == self.canvas[axis]
        size, margin = (self.size[axis], self.margin[axis]) if full else (target, 0)
        # Of the image, relative to the model's input.
        offset = (size - length) // 2 if length < size else -_centred(length, size)
        offset = min(max(offset + margin, min(0, target - length)), max(0, target - length))
        kept = min(length, target)
        return slice(max(offset, 0), max(offset, 0) + kept), slice(max(-offset, 0), max(-offset, 0) + kept)


def framing(reads: ImageInput) -> Framing:
    """Return the geometry of a model's input."""
    height, width = reads.size
    fraction = reads.crop_fraction
    return Framing(
        size=(height, width),
        canvas=(math.floor(height / fraction), math.floor(width / fraction)),
        channels=reads.channels,
        interpolation=reads.interpolation,
        mode=reads.crop_mode,
        border=tuple(round(255 * value) for value in reads.mean),
    )


def recoloured(pixels: NDArray[np.uint8], channels: int) -> NDArray[np.uint8]:
    """Convert (height, width, 1 or 3) to (height, width, channels).

    Colours become their luma (ITU-R 601), grey becomes three equal channels.
    """
    if pixels.shape[2] == channels:
        return pixels
    if channels == GREY:
        return np.asarray(Image.fromarray(pixels).convert("L"))[..., None]
    return np.repeat(pixels, channels, axis=2)


def _resized(pixels: NDArray[np.uint8], shape: tuple[int, int], interpolation: str) -> NDArray[np.uint8]:
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == GREY else pixels)
    resized = np.asarray(image.resize(shape[::-1], Image.Resampling[interpolation.upper()]))
    return resized[..., None] if resized.ndim == 2 else resized


def _centred(length: int, part: int) -> int:
    """Return where the middle `part` of `length` begins; halves are rounded to even, as in torchvision."""
    return round((length - part) / 2)
