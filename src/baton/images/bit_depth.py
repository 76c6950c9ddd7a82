"""Greyscale of more than 8 bits -> 8 bits.

What is stored with 12 or 16 bits is scaled from the same white in every picture, so that a dark picture stays dark. A 16-bit PNG or TIFF
does not say whether its camera used all bits: a PNG's chunk sBIT speaks of values that were scaled up already, and a guess from each
picture's own maximum would make its brightness depend on what it shows. So the number of bits is one for all pictures of a set
(`preprocess.significant_bits`). Values of 32 bits have no white of their own and are scaled by each picture's least and greatest, without
what stands for "no data".
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

WHITE = 255
TRANSPARENT = "transparent all over"  # a note
BITS_16, BITS_KEY = (
    16,
    b"significant_bits",
)  # and under which key a clean table's metadata say how many of them are used
HUGE = 1e38  # of 32-bit floats, which end at 3.4e38: what measures nothing
WHITE_IS_ZERO, NO_DATA = (262, 0), 42113  # TIFF: a tag and its value; GDAL's tag
FEW = 16  # grey levels

UNTOLD = {
    "PNG",
    "TIFF",
}  # formats that may store fewer bits in 16 without saying so; readers of the others scale them up

Values = NDArray[np.float64]  # (height, width)


@dataclass(frozen=True, slots=True)
class Stored:
    """How a file holds its values."""

    format: str  # as Pillow names it
    layout: str  # as Pillow names it, such as `I;12`
    bits: int  # how many of 16 are used, where the file does not say


def grey(image: Any, stored: Stored, notes: list[str]) -> tuple[NDArray[np.uint8], int]:
    """Pixels (height, width, 1) of a loaded image of mode I, F or I;16, and the greatest value of those whose bits the file does not tell.

    Args:
        image: as Pillow loaded it.
        stored: how the file holds it.
        notes: what had to be done goes here.

    Raises:
        ValueError: pixels are no finite numbers, or all of them are without data.
    """
    values, inverted = _values(image, stored.layout), _tag(image, WHITE_IS_ZERO[0]) == WHITE_IS_ZERO[1]
    missing = _no_data(image, values)
    sixteen = image.mode != "F" and (
        image.mode != "I" or stored.format == "PPM"
    )  # whatever a PPM's range is, Pillow makes it 16 bits
    greatest = 0
    if sixteen:
        twelve, untold = stored.layout == "I;12", stored.format in UNTOLD and stored.layout != "I;12"
        notes += ["12 bits"] if twelve else [] if "16 bits" in notes else ["16 bits"]
        greatest = int(values[~missing].max()) if untold and not missing.all() else 0
        black, white = 0.0, 2.0 ** (12 if twelve else stored.bits if untold else BITS_16) - 1
        notes += (
            [f"{FEW} grey levels or fewer of 16 bits"]
            if untold and 0 < greatest * WHITE <= (FEW - 1) * white
            else []
        )
    else:
        notes.append("32 bits")
        black, white = _range(image.mode, values, missing)
    scaled = _scaled(values, *((white, black) if inverted else (black, white)))
    if missing.any():
        clear = isinstance(image.info.get("transparency"), int)
        notes += [
            "alpha on white" if clear else "no data on white",
            *([TRANSPARENT] if clear and missing.all() else []),
        ]
        scaled[missing] = WHITE
    if not sixteen and _flattened(values[~missing], scaled[~missing]):
        notes.append("few levels left by extremes")
    return scaled[:, :, np.newaxis], greatest


def _values(image: Any, stored: str) -> Values:
    values = np.asarray(image)
    if stored == "I;32N":  # unsigned, which Pillow's own 32 bits are not
        values = values.view(np.uint32)
    return values.astype(np.float64)


def _no_data(image: Any, values: Values) -> NDArray[np.bool_]:
    """Where the picture has no value: its transparent one, GDAL's tag, and what is too large to be measured."""
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


def _range(mode: str, values: Values, missing: NDArray[np.bool_]) -> tuple[float, float]:
    """Black and white of values that have none of their own."""
    there = values[~missing]
    if not np.isfinite(there).all():
        raise ValueError("pixels are no finite numbers")
    if not there.size:
        raise ValueError("all pixels are without data")
    least, greatest = float(there.min()), float(there.max())
    return (0.0, 1.0) if mode == "F" and least >= 0 and greatest <= 1 else (least, greatest)


def _scaled(values: Values, black: float, white: float) -> NDArray[np.uint8]:
    span = white - black or 1.0
    with np.errstate(invalid="ignore"):  # what is without data is painted over
        shown = np.rint((values - black) * (WHITE / span)).clip(0, WHITE)
    return np.where(np.isnan(shown), 0, shown).astype(np.uint8)


def _flattened(values: Values, scaled: NDArray[np.uint8]) -> bool:
    """Whether a few extreme values left the others hardly a level."""
    left = int(np.count_nonzero(np.bincount(scaled)))
    return left <= FEW < len(np.unique(values)) // 2
