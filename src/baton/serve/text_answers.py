"""What models of texts answer, whatever computes their logits. Without torch.

Input: the texts of a request, or pairs of them -> a DataFrame with one row per text, as the model's task
answers.
"""

import abc
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from baton.contracts import task_spec
from baton.contracts.ragged import Ragged
from baton.serve import text_reader
from baton.serve.served_model import ServedModel
from baton.serve.text_reader import TextReader
from baton.tasks import answers
from baton.texts import unit_places
from baton.texts.pair_windows import Read

BATCH_SIZE = 32
Logits = NDArray[np.float32]


class TextModel(ServedModel, abc.ABC):
    """A model of texts, of which a subclass computes the logits."""

    encoder: TextReader

    @abc.abstractmethod
    def logits(self, read: list[Read]) -> Logits:
        """Return the logits (batch, width) of texts or pairs."""

    @abc.abstractmethod
    def unit_logits(
        self, windows: list[list[int]], kinds: list[list[int]], places: NDArray[np.int64]
    ) -> Logits:
        """Return the logits (units, width) of tokens in windows.

        Args:
            windows: of a batch.
            kinds: the types of the tokens of pairs; empty for single texts.
            places: (units,), in the windows one after the other, each as long as the longest.
        """

    def predict(self, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Classify texts; the result has the input's index, if any.

        Raises:
            ValueError: If the input is not a column of texts, or two of pairs, a text is empty, or the
                request exceeds a limit.
            TypeError: If a row is not text, or a pair of texts.
        """
        batch_size = self.limits.batch_size(params, BATCH_SIZE)
        columns, index = _columns(model_input, self.encoder.reads.pair, self.limits.accept_empty)
        self.limits.check_rows(len(columns[0]))
        self.limits.check_texts(*columns)
        if self.task.spec.outputs == "unit":
            return self.task.answer(self._of_units(columns, batch_size), self.fitted, index, columns[-1])
        return self.task.answer(self._predicted(columns, batch_size), self.fitted, index)

    def _predicted(self, columns: list[list[str]], batch_size: int) -> Logits:
        """Return logits (texts, width) in the order of the texts, or of the pairs in two columns.

        Batches consist of texts of similar length, so that little padding is computed.
        """
        result = np.zeros((len(columns[0]), self.task.spec.width), np.float32)
        with self.turn:
            read = self.encoder.read(*columns) if columns[0] else []
        for rows in text_reader.batches([own.windows for own in read], batch_size):
            with self.turn:
                result[rows] = self.logits([read[row] for row in rows])
        return result

    def _of_units(self, columns: list[list[str]], batch_size: int) -> Ragged:
        """Return the logits of each row's units, (units, width); those of a unit that is not read are 0.

        They are the words of texts, or "no answer" and the words of the second texts of pairs.
        """
        encoder, spec = self.encoder, self.task.spec
        assert isinstance(spec, task_spec.Tokens | task_spec.Spans), "only units have logits of their own"
        with self.turn:
            whole = encoder.encoded(*columns)
        read = [encoder.kept(own) for own in whole]
        how = spec.words, encoder.frame, encoder.reads.truncation
        places = [unit_places.find(text, own, *how) for text, own in zip(columns[-1], whole, strict=True)]
        offsets = np.cumsum([0, *map(len, places)], dtype=np.int64)
        result = np.zeros((int(offsets[-1]), spec.width), np.float32)
        for rows in text_reader.batches([own.windows for own in read], batch_size):
            windows = [window for row in rows for window in read[row].windows]
            length, first = max(map(len, windows)), 0  # `first` is the row's first window in the batch
            units, flat = [], []
            for row in rows:
                known = np.flatnonzero(places[row] >= 0)
                ends = np.cumsum([len(window) for window in read[row].windows])
                window = np.searchsorted(ends, places[row][known], side="right")
                inner = places[row][known] - np.concatenate([[0], ends])[window]
                flat.append((first + window) * length + inner)
                units.append(offsets[row] + known)
                first += len(read[row].windows)
            with self.turn:
                kinds = [types for row in rows for types in read[row].types]
                result[np.concatenate(units)] = self.unit_logits(windows, kinds, np.concatenate(flat))
        return Ragged(result, offsets)


def _columns(data: Any, pair: bool, accept_empty: bool) -> tuple[list[list[str]], Any]:
    """Return the texts of any accepted input, of pairs in two columns; and for pandas objects their index."""
    if pair:
        found, index = answers.pairs(data, accept_empty)
        return [[row[side] for row in found] for side in (0, 1)], index
    values, index = answers.texts(data, accept_empty)
    return [values], index
