"""Clips of sound in a request -> the answer of a served model, whose encoder the files of `serve` make.

Strings are base64, and paths only if model_config sets `serve_paths`: a request must not read the server's
files. `max_seconds`, of one clip, is another such setting (`tasks.served_limits`).
"""

import abc
import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
import pandas as pd
import torch

from baton.contracts import fitted_values, input_spec, saved_weights, task_spec
from baton.errors import UndecodableError
from baton.sounds import audio_containers, audio_decoding, log_mel
from baton.tasks import answers, served_files, served_limits, task_figures

BATCH_SIZE = 32
FILES = served_files.Files(
    "a clip of sound", "clips", "WAV, FLAC, …", lambda content: audio_containers.begins_as(content) != ""
)
Encoder = Callable[[torch.Tensor], torch.Tensor]  # spectrograms (batch, 1, bands, frames) -> (batch, width)


class AudioService(mlflow.pyfunc.PythonModel, abc.ABC):  # type: ignore[name-defined,misc]
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
        self.limits = served_limits.read(context.model_config, "audio")
        self.turn = (
            threading.Lock()
        )  # of one computation: several together would need several times the memory
        folder = Path(context.artifacts["model"])
        info = json.loads((folder / "baton.json").read_text(encoding="utf-8"))
        self.task = task_figures.of(task_spec.read(info))
        self.fitted = fitted_values.read(info)
        reads = input_spec.read(info["input"], "baton.json: input")
        assert isinstance(reads, input_spec.AudioInput), "models of other inputs are logged with another file"
        self.reads = reads
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        weights, self.head = saved_weights.read(folder, self.device)
        self.encoder = self.open_encoder(folder, reads, weights, self.device)

    def predict(self, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Classify clips; the result has the input's index, if any.

        Raises:
            ValueError: If the input is not a column of clips, a row's file is missing, not a clip, or
                enormous, or the request exceeds a limit.
            TypeError: If a row is neither bytes nor a string nor a path.
        """
        batch_size = self.limits.batch_size(params, BATCH_SIZE)
        clips, index = answers.column(model_input, "audio", served_files.LONE)
        self.limits.check_rows(len(clips))
        self.limits.check_files(clips)
        return self.task.answer(self._predicted(clips, batch_size), self.fitted, index)

    @torch.no_grad()
    def _predicted(self, clips: list[Any], batch_size: int) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Return logits (clips, width) in the order of the clips.

        Threads decode the clips; only those of one batch are in memory at a time.
        """
        result = np.zeros((len(clips), self.task.spec.width), np.float32)
        with ThreadPoolExecutor(torch.get_num_threads()) as threads:
            for start in range(0, len(clips), batch_size):
                rows = range(start, min(start + batch_size, len(clips)))
                read = [*threads.map(lambda row: self._parts(clips[row], row), rows)]
                pixels, counts = torch.cat(read), torch.tensor([len(own) for own in read])
                places = range(0, len(pixels), batch_size)  # no more at once than of clips with one part
                logits = [self._logits(pixels[place : place + batch_size]) for place in places]
                means = torch.segment_reduce(torch.cat(logits), "mean", lengths=counts, axis=0)
                result[start : start + batch_size] = means.numpy()
        return result

    def _logits(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return logits (batch, width), on the host, of spectrograms."""
        with self.turn:
            logits: torch.Tensor = self.head(self.encoder(pixels.to(self.device)))
            return logits.cpu()

    def _parts(self, value: Any, row: int) -> torch.Tensor:
        """Return a row's spectrograms, (parts, 1, bands, frames), 0 to 255 as float32."""
        content = FILES.content(value, row, self.limits.serve_paths)
        try:
            clip = audio_decoding.decode(content, self.limits.max_seconds)
        except UndecodableError as error:
            expected, hint = "an intact clip of sound", "fix or leave out this clip"
            if error.check == "enormous":
                expected = f"at most {self.limits.max_seconds:g} s"
                hint = "make it shorter, or set max_seconds in model_config"
            raise answers.refused(ValueError, f"row {row}: {error}", value, expected, hint) from None
        pixels = torch.from_numpy(np.stack(log_mel.spectrograms(clip.samples, clip.rate, self.reads)))
        return pixels.permute(0, 3, 1, 2).float()  # from (parts, bands, frames, 1)
