"""Stored images -> the model's input: enlarged to the canvas, without the margin.

This is the only module of the package that needs torch.
"""

import torch
from torch.nn import functional

from baton.images.framing import Framing

# Torch's cubic equals Pillow's only with antialias. Filters that torch lacks are replaced by the most similar
# one.
MODES = {
    "nearest": "nearest-exact",
    "box": "nearest-exact",
    "bilinear": "bilinear",
    "hamming": "bilinear",
    "bicubic": "bicubic",
    "lanczos": "bicubic",
}
WHITE = 255


def resized(pixels: torch.Tensor, size: tuple[int, int], interpolation: str) -> torch.Tensor:
    """Resize to `size` (height, width) with antialiasing, within 0 to 255.

    The dtype is kept: uint8 is supported on the CPU, float on any device.
    """
    if pixels.shape[-2:] == size:
        return pixels
    mode = MODES[interpolation]
    if mode == "nearest-exact":
        return functional.interpolate(pixels, size=size, mode=mode)
    result = functional.interpolate(pixels, size=size, mode=mode, antialias=True)
    return result.clamp_(0, WHITE) if result.is_floating_point() else result  # torch clamps integers itself


def framed(pixels: torch.Tensor, frame: Framing) -> torch.Tensor:
    """Map stored images of one shape, (images, channels, height, width), to the model's input.

    They are enlarged to the canvas, and the margin is removed.
    """
    if tuple(pixels.shape[-2:]) != frame.canvas:
        pixels = resized(pixels.float(), frame.canvas, frame.interpolation)
    (top, left), (height, width) = frame.margin, frame.size
    return pixels[..., top : top + height, left : left + width]
