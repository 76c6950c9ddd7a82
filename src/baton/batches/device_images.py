"""Images that stay on the device: a split that fits into part of the free memory is copied there once.

Input: a split's arrays, params `runtime.data_on_device` and the amount of free memory. Output: `Resident`,
from which batches take their images by a tensor of rows on the device.
"""

import itertools
import weakref
from typing import Literal

import numpy as np
import torch

from baton.arrays.image_arrays import ImageArrays
from baton.errors import ParamsError

SHARE = 0.25  # the most of the free memory to use; the rest is for the model, its optimizer and activations
CHUNK_BYTES = 1 << 28  # copied at a time

_tokens = itertools.count()
_held: "weakref.WeakValueDictionary[int, Resident]" = weakref.WeakValueDictionary()


class Resident:
    """All images of a split on a device.

    Worker processes make batches but have no access to the device, so pickling keeps only a token.
    """

    def __init__(self, arrays: ImageArrays, device: torch.device) -> None:
        """Copy the images; if shapes differ, they are padded with black to the largest."""
        height, width = arrays.largest
        self.pixels = torch.empty(
            (len(arrays), height, width, arrays.channels), dtype=torch.uint8, device=device
        )
        count = max(1, CHUNK_BYTES // (height * width * arrays.channels))
        for start in range(0, len(arrays), count):
            rows = np.arange(start, min(start + count, len(arrays)))
            self.pixels[start : start + count].copy_(torch.from_numpy(arrays.filled(rows)))
        self._token = next(_tokens)
        _held[self._token] = self

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle only the token."""
        return _named, (self._token,)

    def images(self, rows: torch.Tensor) -> torch.Tensor:
        """Return the images at `rows` (images,) int64, on the device: (images, channels, height, width).

        Their memory format is channels last.
        """
        return self.pixels.index_select(0, rows).permute(0, 3, 1, 2)


def _named(token: int) -> Resident:
    return _held[token]


def size(arrays: ImageArrays) -> int:
    """Return the bytes that the images take on a device."""
    height, width = arrays.largest
    return len(arrays) * height * width * arrays.channels


def fits(wanted: bool | Literal["auto"], device: str, needed: int, free: int) -> tuple[bool, str]:
    """Return whether images of `needed` bytes are kept on a device with `free` bytes, and why.

    Raises:
        ParamsError: If params require it, but there is not enough memory.
    """
    if device == "cpu":
        return False, "the CPU reads them in place"
    there = f"{needed / 1e9:,.2f} GB of images, {free / 1e9:,.2f} GB free"
    if wanted is True and needed > free:
        hint = "set runtime.data_on_device to auto or false"
        raise ParamsError(
            "runtime.data_on_device: the images do not fit on the device",
            got=there,
            expected="room for all images",
            hint=hint,
        )
    if wanted != "auto":
        return wanted, f"set in params; {there}"
    return needed <= SHARE * free, f"{there}; up to {SHARE:.0%} of it is used"
