"""Augmentation where the model is: numbers of each picture are drawn on the host as ever, and only they, and stored pixels, travel.

Input: `augment.Draws` of some pictures. Output: a `Variation`, a few numbers a picture, whose `apply` does on any device what
`augment.vary` does on the host, and the crop before it. Nothing in `apply` waits for the device: what decides about shapes is known here.

Whole-number work (crop, flip, posterize, solarize, equalize, erasing, grey) gives the host's bits on every device. Where floats are
rounded to whole numbers (resizing, turning, enhancing) a pixel may come out a level apart: a device adds and multiplies in its own order.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from baton import params
from baton.batches.augmentation import operations as on
from baton.batches.augmentation import pipeline, randaugment
from baton.batches.augmentation.resampling import resampled

AT_ONCE = 1 << 25  # values that are worked on together: as floats some hundred megabytes of a device's memory
NUMBERS = 6  # of a picture for one operation, at most: an affine map

Size = tuple[int, int]


@dataclass(frozen=True)
class Turn:
    """One operation of RandAugment for each picture; those that drew the same one stand together in `order`."""

    order: torch.Tensor  # (pictures,) int64
    back: torch.Tensor  # (pictures,) int64, the inverse
    numbers: torch.Tensor  # (pictures, NUMBERS) float32, in that order
    operations: tuple[
        tuple[int, int, tuple[int, ...]], ...
    ]  # place in OPERATIONS, pictures, shape of a picture's numbers


@dataclass(frozen=True)
class Erasing:
    """Rectangles of some pictures, and the noise in them."""

    rows: torch.Tensor  # (erased,) int64
    boxes: torch.Tensor  # (erased, 4) int32: top, left, height, width
    starts: torch.Tensor  # (erased,) int32: of a picture's part of `noise`
    noise: torch.Tensor  # (values,) uint8: one rectangle after the other, each (channels, height, width)


@dataclass(frozen=True)
class Variation:
    """What is done to some pictures, in the order of the fields; None: nothing."""

    settings: params.Augmentation
    size: Size  # of the result
    interpolation: str
    reach: int  # pixels that a window may lie outside of its picture
    windows: torch.Tensor | None  # (pictures, 4) int64: top, left, height, width of what is brought to `size`
    flips: torch.Tensor | None  # (pictures,) bool
    rotations: torch.Tensor | None  # (pictures, 2, 3) float32
    colour: torch.Tensor | None  # (pictures, 4) float32 from -1 to 1
    turns: tuple[Turn, ...]
    erasing: Erasing | None

    def apply(self, pixels: torch.Tensor) -> torch.Tensor:
        """Vary uint8 pictures (pictures, channels, height, width) on the device that they and the numbers are on -> (…, *size) uint8."""
        with torch.autocast(pixels.device.type, enabled=False):
            if self.windows is not None:
                pixels = resampled(pixels, self.windows, self.size, self.interpolation, self.reach)
            if self.flips is not None:
                pixels = torch.where(self.flips[:, None, None, None], pixels.flip(-1), pixels)
            if self.rotations is not None:
                pixels = on.warped(pixels, self.rotations)
            if self.settings.colour and self.colour is not None:
                pixels = pipeline.jittered(pixels, self.settings.colour, self.colour)
            for turn in self.turns:
                pixels = _turned(pixels, turn, self.settings)
            return pixels if self.erasing is None else _erased(pixels, self.erasing)


def variations(
    settings: params.Augmentation,
    drawn: pipeline.Draws,
    windows: NDArray[np.int64] | None,
    size: Size,
    interpolation: str,
    channels: int,
) -> tuple[Variation, ...]:
    """What `settings` make of pictures, for so many at a time as `apply` may hold at once.

    Args:
        settings: which operations.
        drawn: of the pictures.
        windows: see `Variation`; None where no picture is cropped or resized.
        size: height and width after that.
        interpolation: of the framing.
        channels: 1 or 3.
    """
    count = per_group(size, channels)
    groups = [slice(start, start + count) for start in range(0, len(drawn.flip), count)]
    return tuple(
        _variation(
            settings,
            drawn.of(group),
            None if windows is None else windows[group],
            size,
            interpolation,
            channels,
        )
        for group in groups
    )


def per_group(size: Size, channels: int) -> int:
    """Pictures that are varied at once."""
    return max(1, AT_ONCE // (size[0] * size[1] * channels))


def apply(pixels: torch.Tensor, parts: tuple[Variation, ...]) -> torch.Tensor:
    """Vary (pictures, channels, height, width) by what `variations` gave for them."""
    if len(parts) == 1:
        return parts[0].apply(pixels)
    groups = torch.split(pixels, per_group(parts[0].size, pixels.shape[1]))
    return torch.cat([part.apply(group) for part, group in zip(parts, groups, strict=True)])


def windows(
    settings: params.Augmentation, drawn: pipeline.Draws, shapes: NDArray[np.int32]
) -> NDArray[np.int64]:
    """Top, left, height and width of the crop of pictures of `shapes` (pictures, 2), (pictures, 4); without a crop all of a picture."""
    match settings.crop:
        case params.ResizedCrop(scale=scale, ratio=ratio):
            found = [
                pipeline.rectangle(height, width, scale, ratio, own)
                for (height, width), own in zip(shapes.tolist(), drawn.crop, strict=True)
            ]
            return np.array(found, dtype=np.int64).reshape(-1, 4)
        case params.PaddedCrop(padding=padding):
            corners = pipeline.moves(padding, drawn.crop)
        case None:
            corners = np.zeros((len(shapes), 2), np.int64)
    return np.concatenate([corners, shapes.astype(np.int64)], axis=1)


def _variation(
    settings: params.Augmentation,
    drawn: pipeline.Draws,
    windows: NDArray[np.int64] | None,
    size: Size,
    interpolation: str,
    channels: int,
) -> Variation:
    flips = drawn.flip < settings.flip
    turns = range(settings.randaugment.operations) if settings.randaugment else ()
    return Variation(
        settings=settings,
        size=size,
        interpolation=interpolation,
        reach=settings.crop.padding if isinstance(settings.crop, params.PaddedCrop) else 0,
        windows=None if windows is None else torch.from_numpy(windows),
        flips=torch.from_numpy(flips) if settings.flip else None,
        rotations=pipeline.rotations(settings, drawn) if settings.rotation else None,
        colour=pipeline.signed(drawn.colour) if settings.colour else None,
        turns=tuple(_turn(settings, drawn, turn, size) for turn in turns),
        erasing=_erasing(settings, drawn, (channels, *size)),
    )


def _turn(settings: params.Augmentation, drawn: pipeline.Draws, turn: int, size: Size) -> Turn:
    assert settings.randaugment
    strength = settings.randaugment.magnitude / randaugment.STRONGEST
    chosen, signs = randaugment.choice(drawn.randaugment, turn)
    order = np.argsort(chosen, kind="stable")
    numbers, operations = torch.zeros(len(order), NUMBERS), []
    for index in np.unique(chosen):
        places = np.flatnonzero(chosen[order] == index)
        own = randaugment.OPERATIONS[index].of(signs[order[places]], strength, size)
        operations.append((int(index), len(places), tuple(own.shape[1:])))
        flat = own.reshape(len(places), -1)
        numbers[places[0] : places[-1] + 1, : flat.shape[1]] = flat
    return Turn(torch.from_numpy(order), torch.from_numpy(np.argsort(order)), numbers, tuple(operations))


def _turned(pixels: torch.Tensor, turn: Turn, settings: params.Augmentation) -> torch.Tensor:
    assert settings.randaugment
    strength, counts = (
        settings.randaugment.magnitude / randaugment.STRONGEST,
        [count for _, count, _ in turn.operations],
    )
    groups = zip(
        turn.operations,
        torch.split(pixels.index_select(0, turn.order), counts),
        torch.split(turn.numbers, counts),
        strict=True,
    )
    done = []
    for (index, count, shape), group, numbers in groups:
        own = numbers[:, : int(np.prod(shape))].reshape(count, *shape)  # (pictures, …)
        done.append(randaugment.OPERATIONS[index].pixels(group, own, strength))
    return torch.cat(done).index_select(0, turn.back)


def _erasing(
    settings: params.Augmentation, drawn: pipeline.Draws, shape: tuple[int, int, int]
) -> Erasing | None:
    rows = np.flatnonzero(drawn.erasing < settings.erasing)
    if not len(rows):
        return None
    found = [pipeline.erased(shape, drawn.erased[row], drawn.noise.of(drawn.keys[row])) for row in rows]
    noise = [values.ravel() for _, values in found]
    starts = np.cumsum([0, *map(len, noise[:-1])]).astype(np.int32)
    boxes = np.array([box for box, _ in found], dtype=np.int32)
    return Erasing(*(torch.from_numpy(part) for part in (rows, boxes, starts, np.concatenate(noise))))


def _erased(pixels: torch.Tensor, erasing: Erasing) -> torch.Tensor:
    """Put noise into the rectangles, in place where nothing else sees it."""
    chosen = pixels.index_select(0, erasing.rows)  # (erased, channels, height, width)
    channels, height, width = chosen.shape[1:]
    top, left, rows, columns = erasing.boxes.reshape(-1, 4, 1, 1, 1).unbind(1)  # each (erased, 1, 1, 1)
    channel, y, x = (
        torch.arange(length, dtype=torch.int32, device=pixels.device) for length in (channels, height, width)
    )
    channel, y, x = channel[:, None, None], y[:, None] - top, x - left
    inside = (y >= 0) & (y < rows) & (x >= 0) & (x < columns)
    places = (
        erasing.starts.reshape(-1, 1, 1, 1) + (channel * rows + y) * columns + x
    )  # (erased, channels, height, width)
    noise = erasing.noise.index_select(0, torch.where(inside, places, 0).flatten()).view(chosen.shape)
    return pixels.index_copy(0, erasing.rows, torch.where(inside, noise, chosen))
