"""RandAugment (Cubuk et al. 2020): some of a fixed list of operations for each image, at one strength.

Input: uint8 pixels (images, channels, height, width) and draws of each image. Output: pixels of the same
shape. The list and the range of each operation are torchvision's, except that shears keep the centre fixed.
All images that drew an operation are processed together.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.transforms.v2 import functional

from baton import params
from baton.batches.augmentation import operations as on

STRONGEST = 30  # the scale of `magnitude`
PER_OPERATION = 2  # draws: which, and its direction
SHEAR, TRANSLATION, DEGREES, ENHANCEMENT, BITS = 0.3, 150 / 331, 30.0, 0.9, 4  # at the strongest
WHITE = 255

Signed = NDArray[np.float32]  # -1 or 1 for each image
Size = tuple[int, int]  # height and width


@dataclass(frozen=True)
class Operation:
    """An operation on pixels and the numbers it takes per image, which are computed on the host."""

    # Takes pixels, numbers and the strength from 0 to 1.
    pixels: Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor]
    # Takes signs, strength and size, returns (images, …) float32; None: the operation takes no numbers.
    numbers: Callable[[Signed, float, Size], torch.Tensor] | None = None

    def __call__(self, pixels: torch.Tensor, signs: Signed, strength: float) -> torch.Tensor:
        """Compute the numbers and apply the operation, on the host."""
        return self.pixels(pixels, self.of(signs, strength, (pixels.shape[2], pixels.shape[3])), strength)

    def of(self, signs: Signed, strength: float, size: Size) -> torch.Tensor:
        """Return the numbers of images with these signs."""
        return torch.empty(len(signs), 0) if self.numbers is None else self.numbers(signs, strength, size)


def draws(settings: params.RandAugment) -> int:
    """Return how many draws an image needs."""
    return settings.operations * PER_OPERATION


def vary(pixels: torch.Tensor, settings: params.RandAugment, drawn: NDArray[np.float64]) -> torch.Tensor:
    """Apply each image's operations one after the other; `drawn` is (images, `draws`), from 0 to 1."""
    strength = settings.magnitude / STRONGEST
    for turn in range(settings.operations):
        chosen, signs = choice(drawn, turn)
        varied = pixels.clone()
        for index in np.unique(chosen):
            rows = np.flatnonzero(chosen == index)
            varied[rows] = OPERATIONS[index](pixels[rows], signs[rows], strength)
        pixels = varied
    return pixels


def choice(drawn: NDArray[np.float64], turn: int) -> tuple[NDArray[np.int64], Signed]:
    """Return each image's index in `OPERATIONS` and its sign for one of its operations, both (images,)."""
    which, direction = drawn[:, PER_OPERATION * turn], drawn[:, PER_OPERATION * turn + 1]
    return (which * len(OPERATIONS)).astype(np.int64), np.where(direction < 0.5, -1, 1).astype(np.float32)


def rotations(degrees: NDArray[np.floating]) -> torch.Tensor:
    """Return maps for `operations.warped` that rotate images counter-clockwise, (images, 2, 3)."""
    angles = np.deg2rad(degrees)
    return _maps(xx=np.cos(angles), xy=-np.sin(angles), yx=np.sin(angles), yy=np.cos(angles))


def _maps(**given: NDArray[np.floating]) -> torch.Tensor:
    """Return maps (images, 2, 3): x' = xx x + xy y + x, and likewise y'; the default is the identity."""
    count = len(next(iter(given.values())))
    parts = {"xx": 1.0, "xy": 0.0, "x": 0.0, "yx": 0.0, "yy": 1.0, "y": 0.0} | given
    columns = [np.broadcast_to(part, count) for part in parts.values()]
    return torch.from_numpy(np.stack(columns, axis=1).reshape(count, 2, 3).astype(np.float32))


def _factors(signs: Signed, strength: float) -> torch.Tensor:
    return torch.from_numpy(1 + signs * np.float32(ENHANCEMENT * strength))


def _pixels(signs: Signed, strength: float, length: int) -> NDArray[np.floating]:
    return signs * int(TRANSLATION * strength * length)  # whole pixels, otherwise the image would be blurred


def _posterize(pixels: torch.Tensor, _numbers: torch.Tensor, strength: float) -> torch.Tensor:
    fewer: torch.Tensor = functional.posterize(pixels, 8 - round(BITS * strength))
    return fewer


def _warped(numbers: Callable[[Signed, float, Size], torch.Tensor]) -> Operation:
    return Operation(lambda pixels, matrices, strength: on.warped(pixels, matrices), numbers)


def _enhanced(step: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> Operation:
    return Operation(
        lambda pixels, factors, strength: step(pixels, factors),
        lambda signs, strength, size: _factors(signs, strength),
    )


OPERATIONS: tuple[Operation, ...] = (
    Operation(lambda pixels, numbers, strength: pixels),
    _warped(lambda signs, strength, size: _maps(xy=signs * SHEAR * strength)),
    _warped(lambda signs, strength, size: _maps(yx=signs * SHEAR * strength)),
    _warped(lambda signs, strength, size: _maps(x=_pixels(signs, strength, size[1]))),
    _warped(lambda signs, strength, size: _maps(y=_pixels(signs, strength, size[0]))),
    _warped(lambda signs, strength, size: rotations(signs * DEGREES * strength)),
    _enhanced(on.brightened),
    _enhanced(on.saturated),
    _enhanced(on.contrasted),
    _enhanced(on.sharpened),
    Operation(_posterize),
    Operation(lambda pixels, numbers, strength: functional.solarize(pixels, WHITE * (1 - strength))),
    Operation(lambda pixels, numbers, strength: on.stretched(pixels)),
    Operation(lambda pixels, numbers, strength: functional.equalize(pixels)),
)
