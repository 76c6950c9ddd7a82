"""What models of sound answer, whatever computes their logits. Without torch.

Input: the clips of a request -> a DataFrame with one row per clip, as the model's task answers. Strings are
base64, and paths only if model_config sets `serve_paths`: a request must not read the server's files.
`max_seconds`, of one clip, is another such setting (`tasks.served_limits`).
"""

import abc
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from baton.contracts.input_spec import AudioInput
from baton.errors import UndecodableError
from baton.serve.served_model import ServedModel
from baton.sounds import audio_containers, audio_decoding, log_mel
from baton.tasks import answers, served_files

BATCH_SIZE = 32
FILES = served_files.Files(
    "a clip of sound", "clips", "WAV, FLAC, …", lambda content: audio_containers.begins_as(content) != ""
)
Floats = NDArray[np.float32]


class AudioModel(ServedModel, abc.ABC):
    """A model of sound, of which a subclass computes the logits."""

    workers: int  # threads that decode
    reads: AudioInput

    @abc.abstractmethod
    def logits(self, pixels: Floats) -> Floats:
        """Return the logits (batch, width) of spectrograms (batch, 1, bands, frames), 0 to 255."""

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

    def _predicted(self, clips: list[Any], batch_size: int) -> Floats:
        """Return logits (clips, width) in the order of the clips.

        Threads decode the clips; only those of one batch are in memory at a time.
        """
        result = np.zeros((len(clips), self.task.spec.width), np.float32)
        with ThreadPoolExecutor(self.workers) as threads:
            for start in range(0, len(clips), batch_size):
                rows = range(start, min(start + batch_size, len(clips)))
                read = [*threads.map(lambda row: self._parts(clips[row], row), rows)]
                pixels, counts = np.concatenate(read), np.array([len(own) for own in read])
                places = range(0, len(pixels), batch_size)  # no more at once than of clips with one part
                logits = np.concatenate(
                    [self._in_turn(pixels[place : place + batch_size]) for place in places]
                )
                sums = np.add.reduceat(logits, np.cumsum([0, *counts[:-1]]), axis=0)
                result[start : start + batch_size] = sums / counts[:, None]
        return result

    def _in_turn(self, pixels: Floats) -> Floats:
        with self.turn:
            return self.logits(pixels)

    def _parts(self, value: Any, row: int) -> Floats:
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
        pixels = np.stack(log_mel.spectrograms(clip.samples, clip.rate, self.reads))
        return pixels.transpose(0, 3, 1, 2).astype(np.float32)  # from (parts, bands, frames, 1)
