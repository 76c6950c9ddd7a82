"""A classifier of text as an MLflow model, in one file that needs no baton: torch, transformers and safetensors only.

MLflow copies this file and the model folder into the logged model ("models from code") and runs it when the model is loaded.

Input: raw texts, as a list of strings, a string, a Series, an array, or a DataFrame whose first column is called `text`. Output: a
DataFrame with one row a text: `label`, the most probable class, and `probability_CLASS` for each class in the order of the labels. Params:
`batch_size`.

    mlflow.pyfunc.load_model("models:/MODEL_ID").predict(["raw text"])
"""

import json
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
        self.pooling: str = info["head"]["pooling"]
        self.max_length: int = info["input"]["max_length"]
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        # The very file that the training's tokenizer was read from.
        self.tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        self.pad: int = info["input"]["pad"]
        weights = load_file(folder / "model.safetensors")
        self.head = {name.removeprefix("head."): weights.pop(name).to(self.device) for name in list(weights) if name.startswith("head.")}
        self.backbone = AutoModel.from_config(config, dtype=torch.float32)
        if self.pooling != "pooler" and hasattr(self.backbone, "pooler"):
            self.backbone.pooler = None
        self.backbone.load_state_dict({name.removeprefix("backbone."): tensor for name, tensor in weights.items()})
        self.backbone.to(self.device).eval()

    def predict(self, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Classify texts; the result has the input's index if it had one.

        Raises:
            ValueError: the input is no column of texts.
            TypeError: a row is no text.
        """
        texts, index = _texts(model_input)
        probabilities = self._probabilities(texts, int((params or {}).get("batch_size") or BATCH_SIZE))  # (texts, classes)
        frame = pd.DataFrame(probabilities, columns=[f"probability_{label}" for label in self.labels], index=index)
        frame.insert(0, "label", [self.labels[best] for best in probabilities.argmax(axis=1)])
        return frame

    @torch.no_grad()
    def _probabilities(self, texts: list[str], batch_size: int) -> np.ndarray[Any, np.dtype[np.float64]]:
        """(texts, classes), in the order of the texts; batches are made of texts of similar length, so that little padding is computed."""
        result = np.zeros((len(texts), len(self.labels)))
        if not texts:
            return result
        ids: list[list[int]] = self.tokenizer(texts, truncation=True, max_length=self.max_length)["input_ids"]
        order = sorted(range(len(ids)), key=lambda row: len(ids[row]))
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            length = len(ids[rows[-1]])
            tokens = torch.full((len(rows), length), self.pad)  # (batch, length)
            mask = torch.zeros_like(tokens)
            for place, row in enumerate(rows):
                tokens[place, : len(ids[row])] = torch.tensor(ids[row])
                mask[place, : len(ids[row])] = 1
            logits = self._logits(tokens.to(self.device), mask.to(self.device))  # (batch, classes)
            result[rows] = logits.double().softmax(dim=-1).cpu().numpy()
        return result

    def _logits(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(batch, length), (batch, length) -> (batch, classes)."""
        output = self.backbone(input_ids=tokens, attention_mask=mask)
        states = output.last_hidden_state  # (batch, length, width)
        if self.pooling == "pooler":
            pooled = output.pooler_output  # (batch, width)
        elif self.pooling == "cls":
            pooled = states[:, 0]
        else:
            weight = mask.unsqueeze(-1).to(states.dtype)  # (batch, length, 1)
            pooled = (states * weight).sum(1) / weight.sum(1)
        if "hidden.weight" in self.head:
            pooled = torch.tanh(torch.nn.functional.linear(pooled, self.head["hidden.weight"], self.head["hidden.bias"]))
        return torch.nn.functional.linear(pooled, self.head["output.weight"], self.head["output.bias"])


def _texts(data: Any) -> tuple[list[str], Any]:
    """Any accepted input -> texts and, for pandas objects, their index."""
    index = data.index if isinstance(data, pd.Series | pd.DataFrame) else None
    if isinstance(data, pd.DataFrame):
        name = data.columns[0] if len(data.columns) else None
        # MLflow passes only the first column on, so a name of its own is the one sign that this may be the wrong one.
        if name not in ("text", "0", 0, None) or name is None:
            hint = "rename it, or pass the texts alone: model.predict(list(frame[COLUMN]))"
            raise ValueError(f"the input's first column is no text column\n  got:      {name!r}\n  expected: 'text'\n  next:     {hint}")
        data = data[name]
    values = [data] if isinstance(data, str) else np.asarray(data, dtype=object).reshape(-1).tolist()
    for row, value in enumerate(values):
        if not isinstance(value, str):
            raise TypeError(f"row {row} is no text\n  got:      {value!r}\n  expected: a string\n  next:     fill or drop missing texts")
    return values, index


mlflow.models.set_model(TextClassifier())
