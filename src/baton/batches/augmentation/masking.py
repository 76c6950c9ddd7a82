"""Masks of spectrograms: stripes of time and of frequency that become grey (SpecAugment, Park et al. 2019).

The grey is the mean of the model's data, which normalisation makes 0, to the nearest of the 256 levels.

Input: numbers drawn for each image -> the stripes, on the host; and images with their stripes, on any device.
All arithmetic is in integers, so every device gives the same bits.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from baton import params

WHITE = 255


def grey(mean: Sequence[float]) -> int:
    """Return the level (0 to 255) of a mask, from the means of the channels, which are from 0 to 1."""
    return round(WHITE * sum(mean) / len(mean))


def draws(settings: params.Masks) -> int:
    """Return how many numbers an image needs: width and position of each stripe."""
    return 2 * (settings.time + settings.frequency)


def stripes(settings: params.Masks, drawn: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.int64]:
    """Return start and end of each stripe, (images, stripes, 2): those of time first.

    A width is uniform from 0 to the most that is set (or the image's size), and so is the position.

    Args:
        settings: how many stripes there are, and how wide.
        drawn: numbers from 0 to 1, (images, `draws`).
        size: bands and frames of an image.
    """
    bands, frames = size
    lengths = np.array([frames] * settings.time + [bands] * settings.frequency)
    most = np.array([settings.frames] * settings.time + [settings.bands] * settings.frequency)
    pairs = drawn.reshape(len(drawn), -1, 2)
    widths = np.floor(pairs[..., 0] * (np.minimum(most, lengths) + 1)).astype(np.int64)
    starts = np.floor(pairs[..., 1] * (lengths - widths + 1)).astype(np.int64)
    return np.stack([starts, starts + widths], axis=-1)


def masked(pixels: torch.Tensor, own: torch.Tensor, settings: params.Masks, level: int) -> torch.Tensor:
    """Return uint8 images (images, channels, bands, frames) with stripes (images, stripes, 2) of a level.

    Stripes of time end with the clip: one in the silence that follows it would make the clip longer for a
    model that takes the mean over a clip's frames.
    """
    time, frequency = own[:, : settings.time], own[:, settings.time :]
    frames = torch.arange(pixels.shape[3], device=pixels.device)
    sounding = (pixels != 0).any(dim=1).any(dim=1)  # (images, frames)
    end = torch.where(sounding, frames, -1).amax(dim=1, keepdim=True)  # the last frame that is not silent
    hidden = (_inside(time, pixels.shape[3]) & (frames <= end))[:, None, None, :] | _inside(
        frequency, pixels.shape[2]
    )[:, None, :, None]
    return torch.where(hidden, level, pixels)


def _inside(stripes: torch.Tensor, length: int) -> torch.Tensor:
    """Return which places of an axis are in a stripe, (images, length)."""
    places = torch.arange(length, device=stripes.device)
    start, end = stripes[..., 0, None], stripes[..., 1, None]  # (images, stripes, 1)
    return ((places >= start) & (places < end)).any(dim=1)
