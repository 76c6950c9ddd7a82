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
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow.models
import mlflow.pyfunc
import numpy as np
import pandas as pd
import torch
from transformers import AutoConfig, AutoModel

from baton.contracts import fitted_values, input_spec, saved_weights, task_spec
from baton.contracts.ragged import Ragged
from baton.tasks import answers, task_figures
from baton.texts import document_windows, pair_windows, words
from baton.texts.pair_windows import PairFrame, Read

BATCH_SIZE = 32


class TextClassifier(mlflow.pyfunc.PythonModel):  # type: ignore[name-defined,misc]
    """A transformers encoder with the head described in the model folder's `baton.json`.

    It runs in fp32, on a GPU if there is one.
    """

    def load_context(self, context: Any) -> None:
        """Read the model folder `context.artifacts["model"]`.

        Raises:
            RuntimeError: If the weights do not match the config.
        """
        folder = Path(context.artifacts["model"])
        info = json.loads((folder / "baton.json").read_text(encoding="utf-8"))
        self.task = task_figures.of(task_spec.read(info))
        self.fitted = fitted_values.read(info)
        self.pooling: str = info["head"]["pooling"]
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        reads = input_spec.read(info["input"], "baton.json: input")
        assert isinstance(reads, input_spec.TextInput), "models of other inputs are logged with another file"
        self.tokenizer = document_windows.open_tokenizer(folder, reads.max_length)
        whole = pair_windows.pair_frame if reads.pair else document_windows.frame
        self.frame: document_windows.Frame | PairFrame = whole(self.tokenizer)
        self.tokenizer.no_truncation()  # the frame truncates
        self.truncation = reads.truncation
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        self.pad = reads.pad
        weights, self.head = saved_weights.read(folder, self.device)
        self.backbone = AutoModel.from_config(config, dtype=torch.float32)
        if self.pooling != "pooler" and hasattr(self.backbone, "pooler"):
            self.backbone.pooler = None
        self.takes_types = pair_windows.takes_types(self.backbone)
        self.backbone.load_state_dict(weights)
        self.backbone.to(self.device).eval()

    def predict(self, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Classify texts; the result has the input's index, if any.

        Raises:
            ValueError: If the input is not a column of texts, or two of pairs.
            TypeError: If a row is not text, or a pair of texts.
        """
        columns, index = _columns(model_input, isinstance(self.frame, PairFrame))
        batch_size = int((params or {}).get("batch_size") or BATCH_SIZE)
        if isinstance(self.task.spec, task_spec.Tokens):
            texts = columns[0]
            return self.task.answer(self._of_words(texts, batch_size), self.fitted, index, texts)
        return self.task.answer(self._predicted(columns, batch_size), self.fitted, index)

    @torch.no_grad()
    def _predicted(self, columns: list[list[str]], batch_size: int) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Return logits (texts, width) in the order of the texts, or of the pairs in two columns.

        Batches consist of texts of similar length, so that little padding is computed.
        """
        result = np.zeros((len(columns[0]), self.task.spec.width), np.float32)
        if not columns[0]:
            return result
        whole = [self.tokenizer.encode_batch_fast(texts, add_special_tokens=False) for texts in columns]
        read = [self._read([own.ids for own in row]) for row in zip(*whole, strict=True)]
        order = sorted(range(len(read)), key=lambda row: sum(map(len, read[row].windows)))
        for rows in _batches(order, [len(own.windows) for own in read], batch_size):
            windows = [window for row in rows for window in read[row].windows]
            kinds = [types for row in rows for types in read[row].types]
            tokens, mask = _padded(windows, self.pad), _padded([[1] * len(one) for one in windows], 0)
            types = _padded(kinds, 0) if kinds else torch.zeros_like(tokens)  # (windows, length)
            owner = torch.tensor([place for place, row in enumerate(rows) for _ in read[row].windows])
            owners = owner == torch.arange(len(rows)).unsqueeze(1)  # (batch, windows)
            parts = (part.to(self.device) for part in (tokens, mask, owners, types))
            result[rows] = self._logits(*parts).cpu().numpy()
        return result

    @torch.no_grad()
    def _of_words(self, texts: list[str], batch_size: int) -> Ragged:
        """Return the logits of the words of texts, (words, width); those of a word that is not read are 0."""
        assert isinstance(self.frame, document_windows.Frame), "params refuse pairs of texts for tokens"
        assert isinstance(self.task.spec, task_spec.Tokens), "only words have logits of their own"
        whole = self.tokenizer.encode_batch(texts, add_special_tokens=False) if texts else []
        read = [self.frame.read(own.ids, self.truncation)[0] for own in whole]
        places = []  # of each text's words in its concatenated windows
        for text, own in zip(texts, whole, strict=True):
            first_tokens = words.tokens_of(words.cut(text, self.task.spec.words), own.offsets)
            parts = document_windows.windows(len(own.ids), self.frame.room, self.truncation)
            before, special = len(self.frame.before), self.frame.special
            places.append(words.places_of(first_tokens, parts, len(own.ids), before, special))
        offsets = np.cumsum([0, *map(len, places)], dtype=np.int64)
        result = np.zeros((int(offsets[-1]), self.task.spec.width), np.float32)
        order = sorted(range(len(read)), key=lambda row: sum(map(len, read[row])))
        for rows in _batches(order, [len(own) for own in read], batch_size) if texts else ():
            windows = [window for row in rows for window in read[row]]
            tokens = _padded(windows, self.pad).to(self.device)
            mask = _padded([[1] * len(one) for one in windows], 0).to(self.device)
            states = self.backbone(input_ids=tokens, attention_mask=mask).last_hidden_state
            first = 0  # window of the batch
            for row in rows:
                known = np.flatnonzero(places[row] >= 0)
                ends = np.cumsum([len(window) for window in read[row]])
                window = np.searchsorted(ends, places[row][known], side="right")
                inner = places[row][known] - np.concatenate([[0], ends])[window]
                flat = torch.from_numpy((first + window) * tokens.shape[1] + inner).to(self.device)
                vectors = states.flatten(0, 1).index_select(0, flat)  # (words, width)
                result[offsets[row] + known] = self.head(vectors).cpu().numpy()
                first += len(read[row])
        return Ragged(result, offsets)

    def _read(self, ids: list[list[int]]) -> Read:
        """Return what is read of a text, or of both texts of a pair, given their own tokens."""
        if isinstance(self.frame, PairFrame):
            return self.frame.read(ids[0], ids[1], self.truncation)
        windows, left_out = self.frame.read(ids[0], self.truncation)
        return Read(windows, [], left_out)

    def _logits(
        self, tokens: torch.Tensor, mask: torch.Tensor, owners: torch.Tensor, types: torch.Tensor
    ) -> torch.Tensor:
        """Return logits (batch, width).

        Args:
            tokens: (windows, length).
            mask: (windows, length).
            owners: (batch, windows); whether a window belongs to a text.
            types: (windows, length), of tokens.
        """
        typed = {"token_type_ids": types} if self.takes_types and isinstance(self.frame, PairFrame) else {}
        output = self.backbone(input_ids=tokens, attention_mask=mask, **typed)
        states = output.last_hidden_state  # (windows, length, width)
        counts = torch.ones(len(tokens), 1, device=states.device)  # (windows, 1)
        if self.pooling == "pooler":
            pooled = output.pooler_output  # (windows, width)
        elif self.pooling == "cls":
            pooled = states[:, 0]
        else:
            weight = mask.unsqueeze(-1).to(states.dtype)  # (windows, length, 1)
            pooled, counts = (states * weight).sum(1), weight.sum(1)
        # The sums over the windows of each text: (batch, width) and (batch, 1).
        pooled, counts = (torch.where(owners.unsqueeze(-1), part, 0).sum(1) for part in (pooled, counts))
        return self.head(pooled / counts)


def _padded(rows: list[list[int]], value: int) -> torch.Tensor:
    """Return rows of different lengths, filled up with `value`, (rows, longest) int64."""
    result = torch.full((len(rows), max(map(len, rows))), value)
    for place, row in enumerate(rows):
        result[place, : len(row)] = torch.tensor(row)
    return result


def _batches(order: list[int], windows: list[int], most: int) -> Iterator[list[int]]:
    """Yield texts in the given order, in batches of at most `most` windows or of a single text.

    `windows` is the number of windows of each text.
    """
    batch: list[int] = []
    for row in order:
        if batch and sum(windows[other] for other in batch) + windows[row] > most:
            yield batch
            batch = []
        batch.append(row)
    yield batch


def _columns(data: Any, pair: bool) -> tuple[list[list[str]], Any]:
    """Return the texts of any accepted input, of pairs in two columns; and for pandas objects their index."""
    if pair:
        found, index = answers.pairs(data)
        return [[row[side] for row in found] for side in (0, 1)], index
    values, index = answers.texts(data)
    return [values], index


mlflow.models.set_model(TextClassifier())
