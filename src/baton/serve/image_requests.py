"""The images of a request -> pixels as the model's encoder takes them."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

from baton.contracts.input_spec import ImageInput
from baton.images import enlarging
from baton.serve.image_files import ImageFiles
from baton.tasks.served_limits import Limits

WHITE = 255


class ImageReader(ImageFiles):
    """Reads the images of requests as training reads its own."""

    def __init__(self, reads: ImageInput, limits: Limits, device: torch.device) -> None:
        """Take the model's input and settings."""
        super().__init__(reads, limits)
        self.device, self.size, self.channels = device, reads.size, reads.channels
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
        stored = torch.from_numpy(self.stored(value, row))  # (height, width, channels)
        return enlarging.framed(stored.permute(2, 0, 1)[None].float(), self.frame)[0]
