"""RandAugment (Cubuk et al. 2020): some of a fixed list of operations for each picture, at one strength.

Input: uint8 pixels (pictures, channels, height, width) and draws of each picture. Output: the like. The list and the range of each
operation are torchvision's; shears keep the middle in its place. All pictures that drew an operation go through it together.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.transforms.v2 import functional

from baton import params
from baton.data import pixels as on

STRONGEST = 30  # the scale of `magnitude`
PER_OPERATION = 2  # draws: which, and its direction
SHEAR, TRANSLATION, DEGREES, ENHANCEMENT, BITS = 0.3, 150 / 331, 30.0, 0.9, 4  # at the strongest
WHITE = 255

Signed = NDArray[np.float32]  # -1 or 1 of each picture
Operation = Callable[[torch.Tensor, Signed, float], torch.Tensor]  # pixels, signs, strength from 0 to 1


def draws(settings: params.RandAugment) -> int:
    """How many draws a picture needs."""
    return settings.operations * PER_OPERATION


def vary(pixels: torch.Tensor, settings: params.RandAugment, drawn: NDArray[np.float64]) -> torch.Tensor:
    """Apply each picture's operations, one after the other; `drawn` is (pictures, `draws`), each from 0 to 1."""
    strength = settings.magnitude / STRONGEST
    for turn in range(settings.operations):
        which, direction = drawn[:, PER_OPERATION * turn], drawn[:, PER_OPERATION * turn + 1]
        chosen = (which * len(OPERATIONS)).astype(np.int64)
        signs = np.where(direction < 0.5, -1, 1).astype(np.float32)
        varied = pixels.clone()
        for index in np.unique(chosen):
            rows = np.flatnonzero(chosen == index)
            varied[rows] = OPERATIONS[index](pixels[rows], signs[rows], strength)
        pixels = varied
    return pixels


def rotations(degrees: NDArray[np.floating]) -> torch.Tensor:
    """Maps for `pixels.warped` that turn pictures counter-clockwise, (pictures, 2, 3)."""
    angles = np.deg2rad(degrees)
    return _maps(xx=np.cos(angles), xy=-np.sin(angles), yx=np.sin(angles), yy=np.cos(angles))


def _maps(**given: NDArray[np.floating]) -> torch.Tensor:
    """(pictures, 2, 3): x' = xx x + xy y + x, and y' alike; what is not given is that of the map that moves nothing."""
    count = len(next(iter(given.values())))
    parts = {"xx": 1.0, "xy": 0.0, "x": 0.0, "yx": 0.0, "yy": 1.0, "y": 0.0} | given
    columns = [np.broadcast_to(part, count) for part in parts.values()]
    return torch.from_numpy(np.stack(columns, axis=1).reshape(count, 2, 3).astype(np.float32))


def _factors(signs: Signed, strength: float) -> torch.Tensor:
    return torch.from_numpy(1 + signs * np.float32(ENHANCEMENT * strength))


def _pixels(signs: Signed, strength: float, length: int) -> NDArray[np.floating]:
    return signs * int(TRANSLATION * strength * length)  # whole ones, or all would be blurred


def _posterize(pixels: torch.Tensor, _signs: Signed, strength: float) -> torch.Tensor:
    fewer: torch.Tensor = functional.posterize(pixels, 8 - round(BITS * strength))
    return fewer


OPERATIONS: tuple[Operation, ...] = (
    lambda pixels, signs, strength: pixels,
    lambda pixels, signs, strength: on.warped(pixels, _maps(xy=signs * SHEAR * strength)),
    lambda pixels, signs, strength: on.warped(pixels, _maps(yx=signs * SHEAR * strength)),
    lambda pixels, signs, strength: on.warped(pixels, _maps(x=_pixels(signs, strength, pixels.shape[3]))),
    lambda pixels, signs, strength: on.warped(pixels, _maps(y=_pixels(signs, strength, pixels.shape[2]))),
    lambda pixels, signs, strength: on.warped(pixels, rotations(signs * DEGREES * strength)),
    lambda pixels, signs, strength: on.brightened(pixels, _factors(signs, strength)),
    lambda pixels, signs, strength: on.saturated(pixels, _factors(signs, strength)),
    lambda pixels, signs, strength: on.contrasted(pixels, _factors(signs, strength)),
    lambda pixels, signs, strength: on.sharpened(pixels, _factors(signs, strength)),
    _posterize,
    lambda pixels, signs, strength: functional.solarize(pixels, WHITE * (1 - strength)),
    lambda pixels, signs, strength: functional.autocontrast(pixels),
    lambda pixels, signs, strength: functional.equalize(pixels),
)
