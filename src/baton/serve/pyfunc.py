"""A text model as an MLflow model.

MLflow copies this file, the model folder and the Baton modules imported here into the logged model ("models
from code") and runs the file when the model is loaded. In the logged model, these modules belong to a package
of a different name (`tracking.served_code`), so Baton need not be installed, and an installed version has no
effect.

Input: raw texts, as a list of strings, a string, a Series, an array, or a DataFrame whose first column is
called `text`; of models that read pairs of texts, a DataFrame with columns `text` and `text_pair`, or a list
of pairs. Output: a DataFrame with one row per text, as the model's task answers (`tasks.task_figures`)
from the logits and the values fitted on validation, which are in `baton.json`. Params: `batch_size`.

    mlflow.pyfunc.load_model("models:/MODEL_ID").predict(["raw text"])
"""

import json
import threading
from pathlib import Path
from typing import Any

import mlflow.models
import mlflow.pyfunc
import numpy as np
import pandas as pd
import torch

from baton.contracts import fitted_values, input_spec, saved_weights, task_spec
from baton.contracts.ragged import Ragged
from baton.serve import precision, text_encoder
from baton.serve.text_encoder import TextEncoder
from baton.tasks import answers, served_limits, task_figures
from baton.texts import unit_places

BATCH_SIZE = 32


class TextClassifier(mlflow.pyfunc.PythonModel):  # type: ignore[name-defined,misc]
    """A transformers encoder with the head described in the model folder's `baton.json`.

    It runs on a GPU if there is one, in the precision of its model_config.
    """

    def load_context(self, context: Any) -> None:
        """Read the model folder `context.artifacts["model"]`.

        Raises:
            RuntimeError: If the weights do not match the config.
            ValueError: If a setting in model_config is invalid.
        """
        settings, wanted = precision.split(context.model_config)
        self.limits = served_limits.read(settings, "text")
        self.turn = (
            threading.Lock()
        )  # of one computation: several together would need several times the memory
        folder = Path(context.artifacts["model"])
        info = json.loads((folder / "baton.json").read_text(encoding="utf-8"))
        self.task = task_figures.of(task_spec.read(info))
        self.fitted = fitted_values.read(info)
        reads = input_spec.read(info["input"], "baton.json: input")
        assert isinstance(reads, input_spec.TextInput), "models of other inputs are logged with another file"
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        weights, head = saved_weights.read(folder, device)
        self.head = precision.own_head(head)
        own = reads, info["head"]["pooling"], weights
        self.encoder = TextEncoder(folder, *own, device, precision.resolved(wanted, device))
        self.precision = self.encoder.precision

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

    @torch.no_grad()
    def _predicted(self, columns: list[list[str]], batch_size: int) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Return logits (texts, width) in the order of the texts, or of the pairs in two columns.

        Batches consist of texts of similar length, so that little padding is computed.
        """
        result = np.zeros((len(columns[0]), self.task.spec.width), np.float32)
        with self.turn:
            read = self.encoder.read(*columns) if columns[0] else []
        for rows in text_encoder.batches([own.windows for own in read], batch_size):
            with self.turn:
                features = self.encoder.features([read[row] for row in rows])
                result[rows] = self.head(features).cpu().numpy()
        return result

    @torch.no_grad()
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
        for rows in text_encoder.batches([own.windows for own in read], batch_size):
            windows = [window for row in rows for window in read[row].windows]
            with self.turn:
                output, mask = encoder.run(windows, [types for row in rows for types in read[row].types])
            first = 0  # window of the batch
            for row in rows:
                known = np.flatnonzero(places[row] >= 0)
                ends = np.cumsum([len(window) for window in read[row].windows])
                window = np.searchsorted(ends, places[row][known], side="right")
                inner = places[row][known] - np.concatenate([[0], ends])[window]
                flat = torch.from_numpy((first + window) * mask.shape[1] + inner).to(mask.device)
                # The vectors are (units, width).
                vectors = output.last_hidden_state.flatten(0, 1).index_select(0, flat).float()
                result[offsets[row] + known] = self.head(vectors).cpu().numpy()
                first += len(read[row].windows)
        return Ragged(result, offsets)


def _columns(data: Any, pair: bool, accept_empty: bool) -> tuple[list[list[str]], Any]:
    """Return the texts of any accepted input, of pairs in two columns; and for pandas objects their index."""
    if pair:
        found, index = answers.pairs(data, accept_empty)
        return [[row[side] for row in found] for side in (0, 1)], index
    values, index = answers.texts(data, accept_empty)
    return [values], index


mlflow.models.set_model(TextClassifier())
