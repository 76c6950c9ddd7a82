"""Parts of pictures brought to one size, each picture with a window of its own, as two matrix products: any device, nothing to wait for.

Input: uint8 pictures of one shape (smaller ones filled up with black) and windows. Output: uint8. The weights are those of Pillow and
of torch's antialiasing, and each pass is rounded, as theirs are; they agree to one level (theirs are rounded to 16 bits first).
"""

import torch

from baton.batches.augmentation.operations import MODES, WHITE

CUBIC = -0.5  # Keys 1981, as Pillow has it
SUPPORT = {"bilinear": 1.0, "bicubic": 2.0}


def resampled(
    pixels: torch.Tensor, windows: torch.Tensor, size: tuple[int, int], interpolation: str, reach: int = 0
) -> torch.Tensor:
    """Cut a window out of each picture and resize it, with antialiasing.

    Args:
        pixels: (pictures, channels, height, width) uint8.
        windows: (pictures, 4) int64: top, left, height and width; what lies outside of the picture is black.
        size: height and width of the result.
        interpolation: Pillow's name of the filter.
        reach: how many pixels a window may lie outside.
    """
    count, channels, height, width = pixels.shape
    top, left, rows, columns = windows.unbind(1)
    across = weights(
        left, columns, width, size[1], interpolation, reach
    )  # (pictures, width of the result, width)
    down = weights(top, rows, height, size[0], interpolation, reach)
    lines = pixels.contiguous().float().view(count, channels * height, width)
    narrow = _rounded(torch.bmm(lines, across.transpose(1, 2))).view(count, channels, height, size[1])
    return _rounded(torch.matmul(down[:, None], narrow)).to(torch.uint8)


def weights(
    starts: torch.Tensor, lengths: torch.Tensor, source: int, target: int, interpolation: str, reach: int = 0
) -> torch.Tensor:
    """How much of each of `source` pixels is in each of `target`, along one side.

    Args:
        starts: (pictures,) int64, where each window begins.
        lengths: (pictures,) int64, of each window.
        source: pixels of the picture along this side.
        target: pixels of the result.
        interpolation: Pillow's name of the filter.
        reach: how many pixels a window may lie outside.

    Returns:
        (pictures, target, source) float32; a row's sum is 1, but for what lies outside of the picture.
    """
    place = (
        torch.arange(-reach, source + reach, device=starts.device) - starts[:, None, None]
    )  # (pictures, 1, source), in the window
    length = lengths[:, None, None]
    scale = length.float() / target
    middle = (torch.arange(target, device=starts.device)[:, None] + 0.5) * scale  # (pictures, target, 1)
    mode = MODES[interpolation]
    if mode == "nearest-exact":
        return (place == middle.floor().clamp(max=length - 1)).float()[..., reach : reach + source]
    wide = scale.clamp(min=1)
    support = SUPPORT[mode] * wide
    first, end = (
        (middle - support + 0.5).floor().clamp(min=0),
        torch.minimum((middle + support + 0.5).floor(), length),
    )
    value = _filter(((place + 0.5 - middle) / wide).abs(), mode) * ((place >= first) & (place < end))
    return (value / value.sum(-1, keepdim=True))[..., reach : reach + source]


def _filter(distance: torch.Tensor, mode: str) -> torch.Tensor:
    if mode == "bilinear":
        return (1 - distance).clamp(min=0)
    near = ((CUBIC + 2) * distance - (CUBIC + 3)) * distance * distance + 1
    far = ((distance - 5) * distance + 8) * distance * CUBIC - 4 * CUBIC
    return torch.where(distance < 1, near, torch.where(distance < 2, far, 0.0))


def _rounded(values: torch.Tensor) -> torch.Tensor:
    """To whole numbers from 0 to 255; they stay floats."""
    return values.clamp_(0, WHITE).add_(0.5).floor_()
