"""What Whisper's encoder reads of a stored spectrogram, and the mean of its vectors over the clip itself.

Whisper (Radford et al. 2022, arXiv:2212.04356) reads 30 s, of which silence fills up what a clip lacks. Its
positions are fixed sinusoids, so the encoder may read fewer of them: those of the seconds that are stored. A
position stands for two frames.
"""

import torch

from baton.sounds.log_mel import RANGE, WHITE

# Stored values are relative to the loudest one, which is taken to be 10 ** LOUDEST. In the 66 spoken clips of
# tuxpaint-stamps it is from 1.4 to 2.5, with a median of 1.9.
LOUDEST = 2.0
FRAMES = 2  # of a position


def features(pixels: torch.Tensor) -> torch.Tensor:
    """Return Whisper's features, (log10 of the power + 4) / 4, of stored spectrograms.

    Args:
        pixels: (batch, 1, bands, frames), 0 to 255.

    Returns:
        (batch, bands, frames) float32.
    """
    levels = LOUDEST - RANGE * (1 - pixels[:, 0].float() / WHITE)
    return (levels + 4) / 4


def heard(pixels: torch.Tensor) -> torch.Tensor:
    """Return which positions are those of the clip, (batch, positions) bool, not of the silence after it.

    Frames at the end that are all alike are that silence, also after augmentation: stripes of frequency and a
    second clip's share change all of them alike. At least one position is the clip's.

    Args:
        pixels: (batch, 1, bands, frames), 0 to 255.
    """
    values = pixels[:, 0]
    differs = (values != values[..., -1:]).any(dim=1)  # (batch, frames)
    frames = torch.arange(values.shape[-1], device=values.device)
    last = torch.where(differs, frames, -1).amax(
        dim=1
    )  # (batch,): the frame after it is like all that follow
    count = ((last + FRAMES) // FRAMES).clamp(min=1)
    positions = torch.arange(values.shape[-1] // FRAMES, device=values.device)
    return positions < count[:, None]


def pooled(states: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
    """Return the mean, (batch, width), of vectors (batch, positions, width) over what is `heard`."""
    weight = heard(pixels).unsqueeze(-1).to(states.dtype)  # (batch, positions, 1)
    return (states * weight).sum(1) / weight.sum(1)
