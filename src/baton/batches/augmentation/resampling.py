"""Cropping and resizing of images, each with its own window, as two matrix products.

Input: uint8 images of one shape (smaller ones padded with black) and windows. Output: uint8. It runs on any
device without waiting for it. The weights are those of Pillow and of torch's antialiasing, and each pass is
rounded, as theirs are; the results agree to one level (their weights are rounded to 16 bits first).
"""

import torch

from baton.images.enlarging import MODES, WHITE

CUBIC = -0.5  # Keys 1981, as in Pillow
SUPPORT = {"bilinear": 1.0, "bicubic": 2.0}


def resampled(
    pixels: torch.Tensor, windows: torch.Tensor, size: tuple[int, int], interpolation: str, reach: int = 0
) -> torch.Tensor:
    """Crop a window from each image and resize it with antialiasing.

    Args:
        pixels: (images, channels, height, width) uint8.
        windows: (images, 4) int64: top, left, height and width; outside the image is black.
        size: height and width of the result.
        interpolation: Pillow's name of the filter.
        reach: the number of pixels by which a window may extend beyond the image.
    """
    count, channels, height, width = pixels.shape
    top, left, rows, columns = windows.unbind(1)
    # These weights are (images, width of the result, width).
    across = weights(left, columns, width, size[1], interpolation, reach)
    down = weights(top, rows, height, size[0], interpolation, reach)
    lines = pixels.contiguous().float().view(count, channels * height, width)
    narrow = _rounded(torch.bmm(lines, across.transpose(1, 2))).view(count, channels, height, size[1])
    return _rounded(torch.matmul(down[:, None], narrow)).to(torch.uint8)


def weights(
    starts: torch.Tensor, lengths: torch.Tensor, source: int, target: int, interpolation: str, reach: int = 0
) -> torch.Tensor:
    """Return the weight of each of `source` pixels in each of `target` pixels, along one side.

    Args:
        starts: (images,) int64, the start of each window.
        lengths: (images,) int64, the length of each window.
        source: the number of pixels of the image along this side.
        target: the number of pixels of the result.
        interpolation: Pillow's name of the filter.
        reach: the number of pixels by which a window may extend beyond the image.

    Returns:
        (images, target, source) float32; each row sums to 1, less the weights outside the image.
    """
    # Positions in the window, (images, 1, source).
    place = torch.arange(-reach, source + reach, device=starts.device) - starts[:, None, None]
    length = lengths[:, None, None]
    scale = length.float() / target
    middle = (torch.arange(target, device=starts.device)[:, None] + 0.5) * scale  # (images, target, 1)
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
    """Round to whole numbers from 0 to 255, in place; the dtype stays float."""
    return values.clamp_(0, WHITE).add_(0.5).floor_()
