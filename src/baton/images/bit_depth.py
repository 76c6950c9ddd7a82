"""Greyscale images of more than 8 bits -> 8 bits.

12-bit and 16-bit values are scaled from the same white level in every image, so that a dark image stays dark.
A 16-bit PNG or TIFF does not say whether its camera used all bits: a PNG's sBIT chunk describes values that
were already scaled up, and a guess from each image's own maximum would make its brightness depend on its
content. So one number of bits applies to all images of a data set (`preprocess.significant_bits`). 32-bit
values have no defined white level and are scaled by each image's minimum and maximum, ignoring "no data"
values.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

WHITE = 255
TRANSPARENT = "transparent all over"  # a note
BITS_16 = 16
BITS_KEY = b"significant_bits"  # the metadata key of a clean table for how many of the 16 bits are used
HUGE = 1e38  # 32-bit floats from here to their limit, 3.4e38, are not measurements
WHITE_IS_ZERO, NO_DATA = (262, 0), 42113  # TIFF: a tag and its value; GDAL's tag
FEW = 16  # grey levels
STRIP = 2**18  # values that are converted at once

# Formats that may use fewer than 16 bits without saying so; readers of other formats scale them up.
UNTOLD = {"PNG", "TIFF"}

Values = NDArray[np.float64]  # (height, width)


@dataclass(frozen=True, slots=True)
class Stored:
    """How a file stores its values."""

    format: str  # as Pillow names it
    layout: str  # as Pillow names it, such as `I;12`
    bits: int  # how many of the 16 are used, if the file does not say


def grey(image: Any, stored: Stored, notes: list[str]) -> tuple[NDArray[np.uint8], int]:
    """Return the pixels of a loaded image of mode I, F or I;16, and its greatest 16-bit value.

    The pixels are (height, width, 1). The greatest value is 0 if the format says how many bits are used.

    Args:
        image: The image as loaded by Pillow.
        stored: How the file stores it.
        notes: Receives notes on the conversions applied.

    Raises:
        ValueError: If pixels are not finite numbers, or none of them has data.
    """
    values, inverted = _values(image, stored.layout), _tag(image, WHITE_IS_ZERO[0]) == WHITE_IS_ZERO[1]
    missing = np.empty(values.shape, dtype=bool)
    for part in _strips(values):
        missing[part] = _no_data(image, values[part].astype(np.float64))
    # Pillow scales every PPM to 16 bits, regardless of its range.
    sixteen = image.mode != "F" and (image.mode != "I" or stored.format == "PPM")
    greatest = 0
    if sixteen:
        twelve, untold = stored.layout == "I;12", stored.format in UNTOLD and stored.layout != "I;12"
        notes += ["12 bits"] if twelve else [] if "16 bits" in notes else ["16 bits"]
        greatest = _greatest(values, missing) if untold and not missing.all() else 0
        black, white = 0.0, 2.0 ** (12 if twelve else stored.bits if untold else BITS_16) - 1
        notes += (
            [f"{FEW} grey levels or fewer of 16 bits"]
            if untold and 0 < greatest * WHITE <= (FEW - 1) * white
            else []
        )
    else:
        notes.append("32 bits")
        black, white = _range(image.mode, values, missing)
    scaled = np.empty(values.shape, dtype=np.uint8)
    for part in _strips(values):
        own = values[part].astype(np.float64)
        scaled[part] = _scaled(own, *((white, black) if inverted else (black, white)))
    if missing.any():
        clear = isinstance(image.info.get("transparency"), int)
        notes += [
            "alpha on white" if clear else "no data on white",
            *([TRANSPARENT] if clear and missing.all() else []),
        ]
        scaled[missing] = WHITE
    if not sixteen and _flattened(values, scaled, missing):
        notes.append("few levels left by extremes")
    return scaled[:, :, np.newaxis], greatest


def _values(image: Any, stored: str) -> NDArray[Any]:
    """Return the values as they are stored, (height, width); see `_strips`."""
    values = np.asarray(image)
    if stored == "I;32N":  # unsigned, unlike Pillow's 32-bit mode
        values = values.view(np.uint32)
    return values


def strips(height: int, width: int) -> Iterator[tuple[int, int]]:
    """Yield the first row of each strip of an image, and the one after its last."""
    rows = max(1, STRIP // max(1, width))
    return ((first, min(first + rows, height)) for first in range(0, height, rows))


def _strips(values: NDArray[Any]) -> Iterator[slice]:
    """Yield slices of rows; as float64 a whole image would take many times the memory of its file."""
    return (slice(first, last) for first, last in strips(*values.shape))


def _greatest(values: NDArray[Any], missing: NDArray[np.bool_]) -> int:
    """Return the greatest value with data; there is one."""
    return max(int(own.max()) for part in _strips(values) if (own := values[part][~missing[part]]).size)


def _no_data(image: Any, values: Values) -> NDArray[np.bool_]:
    """Return a mask of pixels without data: transparent, GDAL's no-data value, or too large to be real."""
    missing = np.zeros(values.shape, dtype=bool)
    if isinstance(image.info.get("transparency"), int):
        missing |= values == image.info["transparency"]
    if image.mode == "F":
        missing |= np.abs(values) >= HUGE
    if (tag := _tag(image, NO_DATA)) is not None:
        try:
            named = float(str(tag).strip("\0 "))
        except ValueError:
            return missing
        missing |= (
            np.isnan(values)
            if math.isnan(named)
            else values == np.float64(np.float32(named) if image.mode == "F" else named)
        )
    return missing


def _tag(image: Any, number: int) -> Any:
    return image.tag_v2.get(number) if image.format == "TIFF" else None


def _range(mode: str, values: NDArray[Any], missing: NDArray[np.bool_]) -> tuple[float, float]:
    """Return the black and white levels of values whose format defines none."""
    there = values if not missing.any() else values[~missing]
    if not np.isfinite(there).all():
        raise ValueError("pixels are no finite numbers")
    if not there.size:
        raise ValueError("all pixels are without data")
    least, greatest = float(there.min()), float(there.max())
    return (0.0, 1.0) if mode == "F" and least >= 0 and greatest <= 1 else (least, greatest)


def _scaled(values: Values, black: float, white: float) -> NDArray[np.uint8]:
    span = white - black or 1.0
    with np.errstate(invalid="ignore"):  # pixels without data are overwritten later
        shown = np.rint((values - black) * (WHITE / span)).clip(0, WHITE)
    return np.where(np.isnan(shown), 0, shown).astype(np.uint8)


def _flattened(values: NDArray[Any], scaled: NDArray[np.uint8], missing: NDArray[np.bool_]) -> bool:
    """Return whether a few extreme values left hardly any grey levels for the rest."""
    counts = np.zeros(WHITE + 1, dtype=np.int64)
    for part in _strips(values):
        counts += np.bincount(scaled[part][~missing[part]], minlength=WHITE + 1)
    left = int(np.count_nonzero(counts))
    return left <= FEW < len(np.unique(values[~missing])) // 2
