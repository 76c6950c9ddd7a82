"""The images of a request -> the input of an exported model: `image_requests` without torch.

Pillow enlarges them, as `images.enlarging` does with torch.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from baton.images.framing import Framing
from baton.serve.image_files import ImageFiles

# The filters with which torch enlarges in their place, see `enlarging.MODES`; None: the nearest pixel.
FILTERS = {
    "nearest": None,
    "box": None,
    "bilinear": Image.Resampling.BILINEAR,
    "hamming": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.BICUBIC,
}
WHITE = 255


class EnlargedImages(ImageFiles):
    """Reads the images of requests as training reads its own."""

    def read(
        self, images: Sequence[Any], rows: Sequence[int], threads: ThreadPoolExecutor
    ) -> NDArray[np.float32]:
        """Return the images of some rows, decoded in threads: (rows, channels, height, width), 0 to 255.

        Raises:
            ValueError: If a row's file is missing, not an image, or enormous.
            TypeError: If a row is neither bytes nor a string nor a path.
        """
        return np.stack(
            list(threads.map(lambda row: framed(self.stored(images[row], row), self.frame), rows))
        )


def framed(stored: NDArray[np.uint8], frame: Framing) -> NDArray[np.float32]:
    """Map a stored image, (height, width, channels), to the model's input, (channels, height, width).

    It is enlarged to the canvas, and the margin is removed; values are 0 to 255.
    """
    pixels = stored.transpose(2, 0, 1).astype(np.float32)
    if pixels.shape[1:] != frame.canvas:
        pixels = _enlarged(pixels, frame.canvas, FILTERS[frame.interpolation])
    (top, left), (height, width) = frame.margin, frame.size
    return np.ascontiguousarray(pixels[:, top : top + height, left : left + width])


def _enlarged(
    pixels: NDArray[np.float32], size: tuple[int, int], filter_: Image.Resampling | None
) -> NDArray[np.float32]:
    """Map (channels, height, width) to (channels, *size), within 0 to 255."""
    if filter_ is None:
        rows, columns = (_nearest(pixels.shape[axis + 1], size[axis]) for axis in (0, 1))
        return pixels[:, rows][:, :, columns]
    bands = [np.asarray(Image.fromarray(band).resize(size[::-1], filter_)) for band in pixels]
    return np.asarray(np.clip(np.stack(bands), 0, WHITE))


def _nearest(length: int, target: int) -> NDArray[np.int64]:
    """Return the pixels of a row of `length` that a row of `target` pixels shows, (target,).

    A centre may lie between two pixels, and Pillow and torch round it differently: this is torch's
    `nearest-exact`, in single precision.
    """
    scale = np.float32(length) / np.float32(target)
    centres = (np.arange(target, dtype=np.float32) + np.float32(0.5)) * scale
    return np.asarray(np.minimum(np.floor(centres).astype(np.int64), length - 1))
