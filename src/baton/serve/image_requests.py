"""The images of a request: bytes, base64 strings or paths -> pixels as the model's encoder takes them.

A server reads base64 strings but no paths, unless its model_config sets `serve_paths`: a request must not
read the server's files. `max_pixels`, of one image, is another such setting.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch

from baton.contracts.input_spec import ImageInput
from baton.errors import UndecodableError
from baton.images import decoding, enlarging, framing, opening, pillow
from baton.tasks import answers, served_files

MAX_PIXELS = 100_000_000  # of one image, unless model_config sets `max_pixels`; larger images are not decoded
WHITE = 255


class ImageReader:
    """Reads the images of requests as training read its own."""

    def __init__(self, reads: ImageInput, config: Mapping[str, Any], device: torch.device) -> None:
        """Take the model's input and MLflow's model_config.

        Raises:
            ValueError: If `max_pixels` in the config is not a positive integer.
        """
        self.frame, self.bits, self.device = framing.framing(reads), reads.significant_bits, device
        self.serve_paths = bool(config.get("serve_paths"))
        self.max_pixels = config.get("max_pixels", MAX_PIXELS)
        if not isinstance(self.max_pixels, int) or self.max_pixels <= 0:
            found = f"  got:      max_pixels {self.max_pixels!r}\n  expected: a positive number of pixels"
            raise ValueError(f"model_config is invalid\n{found}\n  next:     fix max_pixels, or leave it out")
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
        paths = FILES.paths_allowed(self.serve_paths)
        framed = list(threads.map(lambda row: self._framed(images[row], row, paths), rows))
        return (torch.stack(framed).to(self.device) - self.shift) / self.scale

    def _framed(self, value: Any, row: int, paths: bool) -> torch.Tensor:
        """Return a row's image, (channels, height, width), 0 to 255 as float32."""
        encoded = FILES.content(value, row, paths)
        try:
            pixels = decoding.decode(encoded, self.max_pixels, self.bits).pixels
        except UndecodableError as error:
            expected, hint = "an intact image file", "fix or leave out this image"
            if error.check == "enormous":
                expected = f"at most {self.max_pixels:,} pixels"
                hint = "make it smaller, or set max_pixels in model_config"
            raise answers.refused(ValueError, f"row {row}: {error}", value, expected, hint) from None
        stored = torch.from_numpy(np.array(self.frame.stored(pixels)))  # (height, width, channels)
        return enlarging.framed(stored.permute(2, 0, 1)[None].float(), self.frame)[0]


def _is_image(content: bytes) -> bool:
    """Return whether Pillow recognizes the content as an image."""
    try:
        with pillow.listening(), opening.image(content, []):
            return True
    except Exception:  # noqa: BLE001  a malformed header can make Pillow's readers raise anything
        return False


FILES = served_files.Files("an image", "images", "PNG, JPEG, …", _is_image)
