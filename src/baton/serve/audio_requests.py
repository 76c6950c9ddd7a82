"""Models of sound whose encoder torch computes; the files that MLflow runs make it."""

import abc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from baton.contracts import input_spec, saved_weights
from baton.serve.audio_answers import AudioModel, Floats

Encoder = Callable[[torch.Tensor], torch.Tensor]  # spectrograms (batch, 1, bands, frames) -> (batch, width)


class AudioService(AudioModel):
    """An encoder of spectrograms with the head described in the model folder's `baton.json`.

    It runs in fp32, on a GPU if there is one.
    """

    @abc.abstractmethod
    def open_encoder(
        self,
        folder: Path,
        reads: input_spec.AudioInput,
        weights: dict[str, torch.Tensor],
        device: torch.device,
    ) -> Encoder:
        """Return the encoder of a model folder, which takes values from 0 to 255.

        Raises:
            RuntimeError: If the weights do not match the config.
        """

    def load_context(self, context: Any) -> None:
        """Read the model folder `context.artifacts["model"]`.

        Raises:
            RuntimeError: If the weights do not match the config.
            ValueError: If a setting in model_config is invalid.
        """
        folder, _, self.reads = self.open(context, input_spec.AudioInput)
        self.workers = torch.get_num_threads()
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        weights, self.head = saved_weights.read(folder, self.device)
        self.encoder = self.open_encoder(folder, self.reads, weights, self.device)

    @torch.no_grad()
    def logits(self, pixels: Floats) -> Floats:
        """See `AudioModel`."""
        return self.head(self.encoder(torch.from_numpy(pixels).to(self.device))).cpu().numpy()
