"""Pictures that stay on the device: a split that fits into a part of its free memory is brought there once, as uint8.

Input: a split's arrays, params `runtime.data_on_device`, and how much memory is free. Output: `Resident`, from which batches take their
pictures by a tensor of rows on the device.
"""

import itertools
import weakref
from typing import Literal

import numpy as np
import torch

from baton.arrays.image_arrays import ImageArrays
from baton.errors import ParamsError

SHARE = 0.25  # of the free memory, at most; the rest is for the model, its optimizer and activations
CHUNK_BYTES = 1 << 28  # on their way at a time

_tokens = itertools.count()
_held: "weakref.WeakValueDictionary[int, Resident]" = weakref.WeakValueDictionary()


class Resident:
    """All pictures of a split on a device. A worker process, which makes batches but never sees the device, hands on the name only."""

    def __init__(self, arrays: ImageArrays, device: torch.device) -> None:
        """Pictures of several shapes are filled up with black to the largest."""
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
        """The name."""
        return _named, (self._token,)

    def pictures(self, rows: torch.Tensor) -> torch.Tensor:
        """Those at `rows` (pictures,) int64, on the device: (pictures, channels, height, width), torch's channels last."""
        return self.pixels.index_select(0, rows).permute(0, 3, 1, 2)


def _named(token: int) -> Resident:
    return _held[token]


def size(arrays: ImageArrays) -> int:
    """Bytes that the pictures take on a device."""
    height, width = arrays.largest
    return len(arrays) * height * width * arrays.channels


def fits(wanted: bool | Literal["auto"], device: str, needed: int, free: int) -> tuple[bool, str]:
    """Whether pictures of `needed` bytes are kept on a device with `free` bytes, and why.

    Raises:
        ParamsError: they must, and there is no room.
    """
    if device == "cpu":
        return False, "the CPU reads them where they are"
    there = f"{needed / 1e9:,.2f} GB of pictures, {free / 1e9:,.2f} GB free"
    if wanted is True and needed > free:
        hint = "set runtime.data_on_device to auto or false"
        raise ParamsError(
            "runtime.data_on_device: the pictures do not fit on the device",
            got=there,
            expected="room for all",
            hint=hint,
        )
    if wanted != "auto":
        return wanted, f"set in params; {there}"
    return needed <= SHARE * free, f"{there}; up to {SHARE:.0%} are used"
