"""Augmentation on the model's device: only stored pixels and the numbers drawn on the host are transferred.

Input: `pipeline.Draws` of some images. Output: a `Variation`, a few numbers per image, whose `apply` does on
any device what `pipeline.vary` and the crop before it do on the host. Nothing in `apply` waits for the
device: all shapes are known on the host.

Integer operations (crop, flip, posterize, solarize, equalize, erasing, masks, grey) give the host's bits on
every device. If floats are rounded to integers (resizing, rotation, enhancement), a pixel may differ by one
level, because a device adds and multiplies in its own order.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from baton import params
from baton.batches.augmentation import masking, pipeline, randaugment
from baton.batches.augmentation import operations as on
from baton.batches.augmentation.resampling import resampled

AT_ONCE = 1 << 25  # values processed together: as floats, about a hundred megabytes of the device's memory
NUMBERS = 6  # the most numbers of an image for one operation: an affine map

Size = tuple[int, int]


@dataclass(frozen=True)
class Turn:
    """One operation of RandAugment for each image; images with the same operation are adjacent in `order`."""

    order: torch.Tensor  # (images,) int64
    back: torch.Tensor  # (images,) int64, the inverse
    numbers: torch.Tensor  # (images, NUMBERS) float32, in that order
    # Index in OPERATIONS, number of images, shape of an image's numbers.
    operations: tuple[tuple[int, int, tuple[int, ...]], ...]


@dataclass(frozen=True)
class Erasing:
    """The erased rectangles of some images, and their noise."""

    rows: torch.Tensor  # (erased,) int64
    boxes: torch.Tensor  # (erased, 4) int32: top, left, height, width
    starts: torch.Tensor  # (erased,) int32: start of each image's part of `noise`
    noise: torch.Tensor  # (values,) uint8: the rectangles concatenated, each (channels, height, width)


@dataclass(frozen=True)
class Variation:
    """The operations on some images, in the order of the fields; None: no operation."""

    settings: params.Augmentation
    size: Size  # of the result
    interpolation: str
    reach: int  # pixels by which a window may extend beyond its image
    windows: torch.Tensor | None  # (images, 4) int64: top, left, height, width of the part resized to `size`
    flips: torch.Tensor | None  # (images,) bool
    rotations: torch.Tensor | None  # (images, 2, 3) float32
    colour: torch.Tensor | None  # (images, 4) float32 from -1 to 1
    turns: tuple[Turn, ...]
    erasing: Erasing | None
    masks: torch.Tensor | None  # (images, stripes, 2) int64
    grey: int  # the level of masks

    def apply(self, pixels: torch.Tensor) -> torch.Tensor:
        """Vary uint8 images (images, channels, height, width) on the device of the images and the numbers.

        Returns:
            (images, channels, *size) uint8.
        """
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
            if self.erasing is not None:
                pixels = _erased(pixels, self.erasing)
            if self.settings.masks and self.masks is not None:
                pixels = masking.masked(pixels, self.masks, self.settings.masks, self.grey)
            return pixels


def variations(
    settings: params.Augmentation,
    drawn: pipeline.Draws,
    windows: NDArray[np.int64] | None,
    size: Size,
    interpolation: str,
    channels: int,
    grey: int,
) -> tuple[Variation, ...]:
    """Return the variations of images, in groups that `apply` can hold at once.

    Args:
        settings: the operations.
        drawn: the draws of the images.
        windows: see `Variation`; None if no image is cropped or resized.
        size: height and width after cropping and resizing.
        interpolation: the framing's.
        channels: 1 or 3.
        grey: the level of masks, see `masking.grey`.
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
            grey,
        )
        for group in groups
    )


def per_group(size: Size, channels: int) -> int:
    """Return the number of images varied at once."""
    return max(1, AT_ONCE // (size[0] * size[1] * channels))


def apply(pixels: torch.Tensor, parts: tuple[Variation, ...]) -> torch.Tensor:
    """Vary (images, channels, height, width) by the result of `variations`."""
    if len(parts) == 1:
        return parts[0].apply(pixels)
    groups = torch.split(pixels, per_group(parts[0].size, pixels.shape[1]))
    return torch.cat([part.apply(group) for part, group in zip(parts, groups, strict=True)])


def windows(
    settings: params.Augmentation, drawn: pipeline.Draws, shapes: NDArray[np.int32]
) -> NDArray[np.int64]:
    """Return top, left, height and width of the crop of each image, (images, 4).

    Without a crop it is the whole image. `shapes` (images, 2) are the images' heights and widths.
    """
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
    grey: int,
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
        masks=torch.from_numpy(masking.stripes(settings.masks, drawn.masks, size))
        if settings.masks
        else None,
        grey=grey,
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
        own = numbers[:, : int(np.prod(shape))].reshape(count, *shape)  # (images, …)
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
    """Return images with noise in the rectangles."""
    chosen = pixels.index_select(0, erasing.rows)  # (erased, channels, height, width)
    channels, height, width = chosen.shape[1:]
    top, left, rows, columns = erasing.boxes.reshape(-1, 4, 1, 1, 1).unbind(1)  # each (erased, 1, 1, 1)
    channel, y, x = (
        torch.arange(length, dtype=torch.int32, device=pixels.device) for length in (channels, height, width)
    )
    channel, y, x = channel[:, None, None], y[:, None] - top, x - left
    inside = (y >= 0) & (y < rows) & (x >= 0) & (x < columns)
    # The places are (erased, channels, height, width).
    places = erasing.starts.reshape(-1, 1, 1, 1) + (channel * rows + y) * columns + x
    noise = erasing.noise.index_select(0, torch.where(inside, places, 0).flatten()).view(chosen.shape)
    return pixels.index_copy(0, erasing.rows, torch.where(inside, noise, chosen))
