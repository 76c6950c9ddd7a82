"""A classifier of text as an MLflow model, in one file that needs no baton: torch, transformers and safetensors only.

MLflow copies this file and the model folder into the logged model ("models from code") and runs it when the model is loaded.

Input: raw texts, as a list of strings, a string, a Series, an array, or a DataFrame whose first column is called `text`. Output: a
DataFrame with one row a text: `label`, the most probable class, and `probability_CLASS` for each class in the order of the labels: the
softmax of logits / temperature, with the temperature in `baton.json`. Params: `batch_size`.

    mlflow.pyfunc.load_model("models:/MODEL_ID").predict(["raw text"])
"""

import itertools
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow.models
import mlflow.pyfunc
import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast

BATCH_SIZE = 32


class TextClassifier(mlflow.pyfunc.PythonModel):  # type: ignore[name-defined,misc]
    """A transformers encoder with the head that `baton.json` in the model folder describes; on a GPU if there is one, in fp32."""

    def load_context(self, context: Any) -> None:
        """Read the model folder `context.artifacts["model"]`.

        Raises:
            RuntimeError: the weights do not fit the config.
        """
        folder = Path(context.artifacts["model"])
        info = json.loads((folder / "baton.json").read_text(encoding="utf-8"))
        self.labels: list[str] = info["labels"]
        self.temperature: float = info["temperature"]
        self.pooling: str = info["head"]["pooling"]
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        # The very file that the training's tokenizer was read from.
        self.tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
        self.tokenizer.backend_tokenizer.no_padding()  # a tokenizer's own habits are not what the arrays were made with
        self.tokenizer.backend_tokenizer.no_truncation()
        self.frame = Frame.of(self.tokenizer, info["input"]["max_length"], info["input"]["truncation"])
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        self.pad: int = info["input"]["pad"]
        weights = load_file(folder / "model.safetensors")
        self.head = {
            name.removeprefix("head."): weights.pop(name).to(self.device)
            for name in list(weights)
            if name.startswith("head.")
        }
        self.backbone = AutoModel.from_config(config, dtype=torch.float32)
        if self.pooling != "pooler" and hasattr(self.backbone, "pooler"):
            self.backbone.pooler = None
        self.backbone.load_state_dict(
            {name.removeprefix("backbone."): tensor for name, tensor in weights.items()}
        )
        self.backbone.to(self.device).eval()

    def predict(self, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Classify texts; the result has the input's index if it had one.

        Raises:
            ValueError: the input is no column of texts.
            TypeError: a row is no text.
        """
        texts, index = _texts(model_input)
        probabilities = self._probabilities(
            texts, int((params or {}).get("batch_size") or BATCH_SIZE)
        )  # (texts, classes)
        frame = pd.DataFrame(
            probabilities, columns=[f"probability_{label}" for label in self.labels], index=index
        )
        frame.insert(0, "label", [self.labels[best] for best in probabilities.argmax(axis=1)])
        return frame

    @torch.no_grad()
    def _probabilities(self, texts: list[str], batch_size: int) -> np.ndarray[Any, np.dtype[np.float64]]:
        """(texts, classes), in the order of the texts; batches are made of texts of similar length, so that little padding is computed."""
        result = np.zeros((len(texts), len(self.labels)))
        if not texts:
            return result
        whole: list[list[int]] = self.tokenizer(texts, add_special_tokens=False)["input_ids"]
        read = [self.frame.read(ids) for ids in whole]  # of each text, its windows
        order = sorted(range(len(read)), key=lambda row: sum(map(len, read[row])))
        for rows in _batches(order, [len(windows) for windows in read], batch_size):
            windows = [window for row in rows for window in read[row]]
            length = max(map(len, windows))
            tokens = torch.full((len(windows), length), self.pad)  # (windows, length)
            mask = torch.zeros_like(tokens)
            for place, window in enumerate(windows):
                tokens[place, : len(window)] = torch.tensor(window)
                mask[place, : len(window)] = 1
            owner = torch.tensor([place for place, row in enumerate(rows) for _ in read[row]])  # (windows,)
            owners = owner == torch.arange(len(rows)).unsqueeze(1)  # (batch, windows)
            logits = self._logits(
                *(part.to(self.device) for part in (tokens, mask, owners))
            )  # (batch, classes)
            result[rows] = (logits.double() / self.temperature).softmax(dim=-1).cpu().numpy()
        return result

    def _logits(self, tokens: torch.Tensor, mask: torch.Tensor, owners: torch.Tensor) -> torch.Tensor:
        """(windows, length), (windows, length), whose window each is (batch, windows) -> (batch, classes)."""
        output = self.backbone(input_ids=tokens, attention_mask=mask)
        states = output.last_hidden_state  # (windows, length, width)
        counts = torch.ones(len(tokens), 1, device=states.device)  # (windows, 1)
        if self.pooling == "pooler":
            pooled = output.pooler_output  # (windows, width)
        elif self.pooling == "cls":
            pooled = states[:, 0]
        else:
            weight = mask.unsqueeze(-1).to(states.dtype)  # (windows, length, 1)
            pooled, counts = (states * weight).sum(1), weight.sum(1)
        pooled, counts = (
            torch.where(owners.unsqueeze(-1), part, 0).sum(1) for part in (pooled, counts)
        )  # (batch, width), (batch, 1)
        pooled = pooled / counts
        if "hidden.weight" in self.head:
            pooled = torch.tanh(
                torch.nn.functional.linear(pooled, self.head["hidden.weight"], self.head["hidden.bias"])
            )
        return torch.nn.functional.linear(pooled, self.head["output.weight"], self.head["output.bias"])


@dataclass(frozen=True)
class Frame:
    """What is read of a text: as `baton.arrays.document_windows` has it, by which the training's arrays were made."""

    before: list[int]  # special tokens around each window
    after: list[int]
    room: int  # own tokens that are read at once
    how: dict[str, Any]  # with a text of more

    @staticmethod
    def of(tokenizer: PreTrainedTokenizerFast, max_length: int, how: dict[str, Any]) -> "Frame":
        """Of a tokenizer that reads at most `max_length` tokens at once, special ones included."""
        probe = tokenizer.backend_tokenizer.encode("a")
        own = [index for index, added in enumerate(probe.special_tokens_mask) if not added] or [0]
        before, after = probe.ids[: own[0]], probe.ids[own[-1] + 1 :]
        return Frame(before, after, max_length - len(before) - len(after), how)

    def read(self, ids: list[int]) -> list[list[int]]:
        """A text's own tokens -> those of each of its windows."""
        parts = [ids] if len(ids) <= self.room else self._cut(ids)
        return [[*self.before, *part, *self.after] for part in parts]

    def _cut(self, ids: list[int]) -> list[list[int]]:
        length, room, how = len(ids), self.room, self.how
        if how["kind"] == "head":
            return [ids[:room]]
        if how["kind"] == "tail":
            return [ids[length - room :]]
        if how["kind"] == "head_tail":
            first = round(room * how["head"])
            return [ids[:first] + ids[length - room + first :]]
        most, overlap = how["most"], how["overlap"]
        needed = math.ceil((length - overlap) / (room - overlap))
        if needed > most:
            starts = [(length - room) * place // (most - 1) for place in range(most)]
            return [ids[start : start + room] for start in starts]
        edges = [(length - overlap) * place // needed for place in range(needed + 1)]
        return [ids[start : end + overlap] for start, end in itertools.pairwise(edges)]


def _batches(order: list[int], windows: list[int], most: int) -> Iterator[list[int]]:
    """Texts in their order, in batches of at most `most` windows (`windows`: of each text), or of one text."""
    batch: list[int] = []
    for row in order:
        if batch and sum(windows[other] for other in batch) + windows[row] > most:
            yield batch
            batch = []
        batch.append(row)
    yield batch


def _texts(data: Any) -> tuple[list[str], Any]:
    """Any accepted input -> texts and, for pandas objects, their index."""
    index = data.index if isinstance(data, pd.Series | pd.DataFrame) else None
    if isinstance(data, pd.DataFrame):
        name = data.columns[0] if len(data.columns) else None
        # MLflow passes only the first column on, so a name of its own is the one sign that this may be the wrong one.
        if name not in ("text", "0", 0, None) or name is None:
            hint = "rename it, or pass the texts alone: model.predict(list(frame[COLUMN]))"
            raise ValueError(
                f"the input's first column is no text column\n  got:      {name!r}\n  expected: 'text'\n  next:     {hint}"
            )
        data = data[name]
    values = [data] if isinstance(data, str) else np.asarray(data, dtype=object).reshape(-1).tolist()
    for row, value in enumerate(values):
        if not isinstance(value, str):
            raise TypeError(
                f"row {row} is no text\n  got:      {value!r}\n  expected: a string\n  next:     fill or drop missing texts"
            )
    return values, index


mlflow.models.set_model(TextClassifier())
