"""The images of a request: bytes, base64 strings or paths -> pixels as training stores them. Without torch.

Strings are base64, and paths only if model_config sets `serve_paths`: a request must not read the server's
files. `max_pixels`, of one image, and `max_pixels_at_once`, of all threads, are other such settings
(`tasks.served_limits`).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from baton.contracts.input_spec import ImageInput
from baton.errors import UndecodableError
from baton.images import decoding, framing, opening, pillow
from baton.serve.pixel_budget import PixelBudget
from baton.tasks import answers, served_files, served_limits
from baton.tasks.served_limits import Limits

HEAVY = {"WEBP", "JPEG2000", "TIFF"}  # formats whose pixels may take 20 bytes while they are decoded, not 10


class ImageFiles:
    """Decodes the images of requests as `tokenize` decodes those of training."""

    def __init__(self, reads: ImageInput, limits: Limits) -> None:
        """Take the model's input and settings."""
        self.frame, self.bits = framing.framing(reads), reads.significant_bits
        self.limits, self.budget = limits, PixelBudget(limits.max_pixels_at_once)

    def stored(self, value: Any, row: int) -> NDArray[np.uint8]:
        """Return a row's image at its own size or that of the canvas, (height, width, channels).

        Raises:
            ValueError: If the row's file is missing, not an image, or enormous.
            TypeError: If the row is neither bytes nor a string nor a path.
        """
        encoded = FILES.content(value, row, self.limits.serve_paths)
        pixels, weight = _header(encoded) if served_limits.serving() else (0, 1)
        name, most = self._most(weight)
        try:
            with self.budget.taken(weight * pixels if pixels <= most else 0):
                return np.array(self.frame.stored(decoding.decode(encoded, most, self.bits).pixels))
        except UndecodableError as error:
            expected, hint = "an intact image file", "fix or leave out this image"
            if error.check == "enormous":
                expected = f"at most {most:,} pixels"
                hint = f"make it smaller, or set {name} in model_config"
            raise answers.refused(ValueError, f"row {row}: {error}", value, expected, hint) from None

    def _most(self, weight: int) -> tuple[str, int]:
        """Return the setting that limits the pixels of one image, and how many it may have.

        In a server no image may exceed what all threads together may decode.
        """
        one, all_threads = self.limits.max_pixels, self.limits.max_pixels_at_once // weight
        if served_limits.serving() and all_threads < one:
            return "max_pixels_at_once", all_threads
        return "max_pixels", one


def _header(encoded: bytes) -> tuple[int, int]:
    """Return an image's pixels and their weight, by its header; no pixels if it cannot be read."""
    try:
        with pillow.listening(), opening.image(encoded, []) as image:
            width, height = image.size
            return width * height, 2 if image.format in HEAVY else 1
    except Exception:  # noqa: BLE001  a malformed header can make Pillow's readers raise anything
        return 0, 1


def _is_image(content: bytes) -> bool:
    """Return whether Pillow recognizes the content as an image."""
    try:
        with pillow.listening(), opening.image(content, []):
            return True
    except Exception:  # noqa: BLE001  a malformed header can make Pillow's readers raise anything
        return False


FILES = served_files.Files("an image", "images", "PNG, JPEG, …", _is_image)
