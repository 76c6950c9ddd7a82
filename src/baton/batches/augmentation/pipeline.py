"""Image augmentation, set by params `augmentation`: a pure function of (seed, epoch, sample id) per image.

Input: uint8 images and the numbers that `draw` returns for each. Output: uint8 pixels. Each operation has its
own numbers, so switching one on or off does not affect the others. Mixing with other samples follows, on the
batch: see `mixing`.
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from baton import params
from baton.batches.augmentation import masking, mixing, randaugment
from baton.batches.augmentation import operations as on
from baton.batches.augmentation.random_streams import Generators

ATTEMPTS = 10  # to draw a rectangle that fits
RECTANGLE = 2 * ATTEMPTS + 2  # draws: area and aspect ratio of each attempt, and the position
ERASED_AREA, ERASED_RATIO = (0.02, 0.4), (0.3, 1 / 0.3)  # Zhong et al. 2020
AT_ONCE = 1 << 19  # values processed together: as floats they still fit into the processor's cache
VARYING, NOISE = 0, 1  # a sample's streams of numbers; the second fills erased rectangles


@dataclass(frozen=True)
class Draws:
    """The numbers of some samples in one epoch, each from 0 to 1; (samples, …) each."""

    crop: NDArray[np.float64]  # RECTANGLE
    flip: NDArray[np.float64]
    rotation: NDArray[np.float64]
    colour: NDArray[np.float64]  # 4
    erasing: NDArray[np.float64]
    erased: NDArray[np.float64]  # RECTANGLE
    mixing: NDArray[np.float64]  # mixing.DRAWS
    randaugment: NDArray[np.float64]  # as many as its settings need
    masks: NDArray[np.float64]  # two for each mask
    keys: NDArray[np.uint64]
    noise: Generators

    def of(self, rows: slice) -> "Draws":
        """Return the numbers of some of the samples."""
        parts: dict[str, Any] = {
            name: part[rows] for name, part in vars(self).items() if isinstance(part, np.ndarray)
        }
        return dataclasses.replace(self, **parts)


def draw(keys: NDArray[np.uint64], seed: int, epoch: int, settings: params.Augmentation) -> Draws:
    """Draw the numbers of the samples with these keys, (samples,), from `random_streams.keys`.

    `seed` is that of the training run; `epoch` counts from 0.
    """
    widths = [RECTANGLE, 1, 1, 4, 1, RECTANGLE, mixing.DRAWS]
    widths.append(randaugment.draws(settings.randaugment) if settings.randaugment else 0)
    widths.append(masking.draws(settings.masks) if settings.masks else 0)
    drawn = Generators(seed, epoch, VARYING).uniform(keys, sum(widths))
    crop, flip, rotation, colour, erasing, erased, mixed, chosen, masks = np.split(
        drawn, np.cumsum(widths)[:-1], axis=1
    )
    noise = Generators(seed, epoch, NOISE)
    flip, rotation, erasing = flip[:, 0], rotation[:, 0], erasing[:, 0]
    return Draws(crop, flip, rotation, colour, erasing, erased, mixed, chosen, masks, keys, noise)


def padded_crop(images: NDArray[np.uint8], padding: int, drawn: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Pad each image with `padding` black pixels and crop its own size: shift it and fill with black.

    Args:
        images: (images, height, width, channels).
        padding: pixels on each side.
        drawn: `Draws.crop`.
    """
    moved = np.zeros_like(images)
    for image, target, (down, right) in zip(images, moved, moves(padding, drawn).tolist(), strict=True):
        target[_inside(-down), _inside(-right)] = image[_inside(down), _inside(right)]
    return moved


def moves(padding: int, drawn: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return where `padded_crop` begins in each image, down and right, (images, 2)."""
    return np.floor(drawn[:, :2] * (2 * padding + 1)).astype(np.int64) - padding


def _inside(move: int) -> slice:
    return slice(move, None) if move > 0 else slice(None, move or None)


def random_part(
    image: NDArray[np.uint8], settings: params.ResizedCrop, drawn: NDArray[np.float64]
) -> NDArray[np.uint8]:
    """Return the part of one image (height, width, channels) that its `Draws.crop` (RECTANGLE,) select.

    It has the image's resolution.
    """
    top, left, rows, columns = rectangle(
        image.shape[0], image.shape[1], settings.scale, settings.ratio, drawn
    )
    return image[top : top + rows, left : left + columns]


def vary(pixels: torch.Tensor, settings: params.Augmentation, drawn: Draws, grey: int) -> torch.Tensor:
    """Apply the operations between cropping and mixing.

    They are flip, rotation, colour jitter, RandAugment, erasing and masks.

    Args:
        pixels: (images, channels, height, width) uint8; they may be overwritten.
        settings: which operations to apply.
        drawn: the numbers of these images.
        grey: the level of masks, see `masking.grey`.
    """
    count = max(1, AT_ONCE // pixels[0].numel())
    groups = [slice(start, start + count) for start in range(0, len(pixels), count)]
    return torch.cat([_varied(pixels[group], settings, drawn.of(group), grey) for group in groups])


def _varied(pixels: torch.Tensor, settings: params.Augmentation, drawn: Draws, grey: int) -> torch.Tensor:
    flipped = np.flatnonzero(drawn.flip < settings.flip)
    if len(flipped):
        pixels[flipped] = pixels[flipped].flip(-1)
    if settings.rotation:
        pixels = on.warped(pixels, rotations(settings, drawn))
    if settings.colour:
        pixels = jittered(pixels, settings.colour, signed(drawn.colour))
    if settings.randaugment:
        pixels = randaugment.vary(pixels, settings.randaugment, drawn.randaugment)
    for row in np.flatnonzero(drawn.erasing < settings.erasing).tolist():
        _erase(pixels[row], drawn.erased[row], drawn.noise.of(drawn.keys[row]))
    if settings.masks:
        stripes = masking.stripes(settings.masks, drawn.masks, (pixels.shape[2], pixels.shape[3]))
        pixels = masking.masked(pixels, torch.from_numpy(stripes), settings.masks, grey)
    return pixels


def rotations(settings: params.Augmentation, drawn: Draws) -> torch.Tensor:
    """Return maps for `operations.warped`, (images, 2, 3)."""
    return randaugment.rotations((2 * drawn.rotation - 1) * settings.rotation)


def signed(drawn: NDArray[np.float64]) -> torch.Tensor:
    """Map draws from 0 to 1 to float32 from -1 to 1."""
    return torch.from_numpy(2 * drawn - 1).float()


def jittered(pixels: torch.Tensor, settings: params.ColourJitter, signed: torch.Tensor) -> torch.Tensor:
    """Vary brightness, contrast, saturation and hue, in this order.

    `signed` is (images, 4), on the pixels' device.
    """
    steps = (
        (on.brightened, settings.brightness),
        (on.contrasted, settings.contrast),
        (on.saturated, settings.saturation),
    )
    for column, (step, strength) in enumerate(steps):
        if strength:
            pixels = step(pixels, (1 + signed[:, column] * strength).clamp(min=0))
    return on.turned_hue(pixels, signed[:, 3] * settings.hue) if settings.hue else pixels


def _erase(pixels: torch.Tensor, drawn: NDArray[np.float64], noise: np.random.Generator) -> None:
    """Fill a rectangle of one image (channels, height, width) with noise, in place.

    Noise was the best filling in the paper.
    """
    (top, left, rows, columns), values = erased(pixels.shape, drawn, noise)
    pixels[:, top : top + rows, left : left + columns] = torch.from_numpy(values)


def erased(
    shape: Sequence[int], drawn: NDArray[np.float64], noise: np.random.Generator
) -> tuple[tuple[int, int, int, int], NDArray[np.uint8]]:
    """Return top, left, height and width of the rectangle in an image of `shape`, and the noise to put there.

    `shape` is (channels, height, width).
    """
    channels, height, width = shape
    top, left, rows, columns = rectangle(height, width, ERASED_AREA, ERASED_RATIO, drawn)
    return (top, left, rows, columns), noise.integers(
        0, on.WHITE, (channels, rows, columns), dtype=np.uint8, endpoint=True
    )


def rectangle(
    height: int, width: int, area: tuple[float, float], ratio: tuple[float, float], drawn: NDArray[np.float64]
) -> tuple[int, int, int, int]:
    """Return top, left, height and width of the first of `ATTEMPTS` rectangles that fits.

    If none does, it is the largest one with an allowed ratio.
    """
    lowest, highest = math.log(ratio[0]), math.log(ratio[1])
    *attempts, (down, right) = drawn.reshape(-1, 2).tolist()
    for share, shape in attempts:
        pixels = height * width * (area[0] + share * (area[1] - area[0]))
        aspect = math.exp(lowest + shape * (highest - lowest))  # width to height
        rows, columns = round(math.sqrt(pixels / aspect)), round(math.sqrt(pixels * aspect))
        if 0 < rows <= height and 0 < columns <= width:
            break
    else:
        aspect = min(max(width / height, ratio[0]), ratio[1])
        rows, columns = max(1, min(height, round(width / aspect))), max(1, min(width, round(height * aspect)))
    return int(down * (height - rows + 1)), int(right * (width - columns + 1)), rows, columns
