"""The images of a request: bytes, base64 strings or paths -> pixels as the model's encoder takes them.

Strings are base64, and paths only if model_config sets `serve_paths`: a request must not read the server's
files. `max_pixels`, of one image, and `max_pixels_at_once`, of all threads, are other such settings
(`tasks.served_limits`).
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch

from baton.contracts.input_spec import ImageInput
from baton.errors import UndecodableError
from baton.images import decoding, enlarging, framing, opening, pillow
from baton.serve.pixel_budget import PixelBudget
from baton.tasks import answers, served_files, served_limits
from baton.tasks.served_limits import Limits

WHITE = 255
HEAVY = {"WEBP", "JPEG2000", "TIFF"}  # formats whose pixels may take 20 bytes while they are decoded, not 10


class ImageReader:
    """Reads the images of requests as training read its own."""

    def __init__(self, reads: ImageInput, limits: Limits, device: torch.device) -> None:
        """Take the model's input and settings."""
        self.frame, self.bits, self.device = framing.framing(reads), reads.significant_bits, device
        self.size, self.channels = reads.size, reads.channels
        self.limits, self.budget = limits, PixelBudget(limits.max_pixels_at_once)
        mean, std = (
            torch.tensor(values, device=device).reshape(-1, 1, 1) for values in (reads.mean, reads.std)
        )
        self.shift, self.scale = WHITE * mean, WHITE * std  # (channels, 1, 1), for values from 0 to 255

    def read(self, images: Sequence[Any], rows: Sequence[int], threads: ThreadPoolExecutor) -> torch.Tensor:
        """Return the images of some rows, decoded in threads: (rows, channels, height, width), normalised.

        Raises:
            ValueError: If a row's file is missing, not an image, or enormous.
            TypeError: If a row is neither bytes nor a string nor a path.
        """
        framed = list(threads.map(lambda row: self._framed(images[row], row), rows))
        return (torch.stack(framed).to(self.device) - self.shift) / self.scale

    def tried(self, encoder: Any) -> torch.Tensor:
        """Return an encoder's features of a black image, (1, width), in bf16."""
        black = torch.zeros(1, self.channels, *self.size, device=self.device)
        features: torch.Tensor = encoder(((black - self.shift) / self.scale).bfloat16())
        return features

    def _framed(self, value: Any, row: int) -> torch.Tensor:
        """Return a row's image, (channels, height, width), 0 to 255 as float32."""
        encoded = FILES.content(value, row, self.limits.serve_paths)
        pixels, weight = _header(encoded) if served_limits.serving() else (0, 1)
        name, most = self._most(weight)
        try:
            with self.budget.taken(weight * pixels if pixels <= most else 0):
                decoded = decoding.decode(encoded, most, self.bits).pixels
                stored = torch.from_numpy(np.array(self.frame.stored(decoded)))  # (height, width, channels)
                del decoded
        except UndecodableError as error:
            expected, hint = "an intact image file", "fix or leave out this image"
            if error.check == "enormous":
                expected = f"at most {most:,} pixels"
                hint = f"make it smaller, or set {name} in model_config"
            raise answers.refused(ValueError, f"row {row}: {error}", value, expected, hint) from None
        return enlarging.framed(stored.permute(2, 0, 1)[None].float(), self.frame)[0]

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
