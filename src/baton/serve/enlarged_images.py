"""Stored images -> the model's input, as `images.enlarging` makes it with torch, by Pillow."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from baton.images.framing import Framing

# The filters with which torch enlarges in their place: see `enlarging.MODES`.
FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "hamming": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.BICUBIC,
}
WHITE = 255


def framed(stored: NDArray[np.uint8], frame: Framing) -> NDArray[np.float32]:
    """Map a stored image, (height, width, channels), to the model's input, (channels, height, width).

    It is enlarged to the canvas, and the margin is removed; values are 0 to 255.
    """
    pixels = stored.transpose(2, 0, 1).astype(np.float32)
    if pixels.shape[1:] != frame.canvas:
        height, width = frame.canvas
        filter_ = FILTERS[frame.interpolation]
        bands = [np.asarray(Image.fromarray(band).resize((width, height), filter_)) for band in pixels]
        pixels = np.clip(np.stack(bands), 0, WHITE)
    (top, left), (height, width) = frame.margin, frame.size
    return np.ascontiguousarray(pixels[:, top : top + height, left : left + width])
