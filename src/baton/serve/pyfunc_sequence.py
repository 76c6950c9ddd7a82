"""A model that writes texts as an MLflow model.

MLflow copies this file, the model folder and the Baton modules imported here into the logged model, as for
`pyfunc`, and runs the file when the model is loaded.

Input: raw texts, as a list of strings, a string, a Series, an array, or a DataFrame whose first column is
called `text`. Output: a DataFrame with the column `text`, what the model wrote for each (greedily or by beam
search, see `texts.generation`). Params: `batch_size`, by default 32, or fewer if there are several beams.

    mlflow.pyfunc.load_model("models:/MODEL_ID").predict(["raw text"])
"""

import json
import threading
from pathlib import Path
from typing import Any

import mlflow.models
import mlflow.pyfunc
import pandas as pd
import torch
from transformers import AutoConfig, AutoModelForSeq2SeqLM

from baton.contracts import input_spec, saved_weights, task_spec, tied_weights
from baton.tasks import answers, served_limits, task_figures
from baton.texts import document_windows, generation

BATCH_SIZE = 32


class SequenceModel(mlflow.pyfunc.PythonModel):  # type: ignore[name-defined,misc]
    """A transformers encoder-decoder, as the model folder's `baton.json` describes it.

    It runs in fp32, on a GPU if there is one.
    """

    def load_context(self, context: Any) -> None:
        """Read the model folder `context.artifacts["model"]`.

        Raises:
            RuntimeError: If the weights do not match the config.
            ValueError: If a setting in model_config is invalid.
        """
        self.limits = served_limits.read(context.model_config, "text")
        self.turn = (
            threading.Lock()
        )  # of one computation: several together would need several times the memory
        folder = Path(context.artifacts["model"])
        info = json.loads((folder / "baton.json").read_text(encoding="utf-8"))
        spec, reads = task_spec.read(info), input_spec.read(info["input"], "baton.json: input")
        assert isinstance(spec, task_spec.Sequence), "models of other tasks are logged with another file"
        assert isinstance(reads, input_spec.TextInput), "models that write texts read texts"
        self.task, self.spec = task_figures.of(spec), spec
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.tokenizer = document_windows.open_tokenizer(folder, reads.max_length)
        self.frame = document_windows.frame(self.tokenizer)
        self.tokenizer.no_truncation()  # the frame truncates
        self.truncation, self.pad = reads.truncation, reads.pad
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        weights, _ = saved_weights.read(folder, self.device)
        self.model = AutoModelForSeq2SeqLM.from_config(config, dtype=torch.float32)
        self.model.load_state_dict(tied_weights.completed(weights, self.model))
        self.model.to(self.device).eval()
        self.how = self.model.generation_config = generation.config(spec, reads.pad)

    def predict(self, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Write a text for each input; the result has the input's index, if any.

        Raises:
            ValueError: If the input is not a column of texts, a text is empty, or the request exceeds a
                limit.
            TypeError: If a row is not text.
        """
        texts, index = answers.texts(model_input, self.limits.accept_empty)
        self.limits.check_rows(len(texts))
        self.limits.check_texts(texts)
        batch_size = self._batch_size(params)
        return self.task.answer(self._written(texts, batch_size), {}, index)

    def _batch_size(self, params: dict[str, Any] | None) -> int:
        """Return the batch size asked for; MLflow fills in the signature's, which is that for one beam."""
        asked = self.limits.batch_size(params, BATCH_SIZE)
        return max(BATCH_SIZE // self.spec.beams, 1) if asked == BATCH_SIZE else asked

    def _written(self, texts: list[str], batch_size: int) -> list[str]:
        """Return a text for each input; batches consist of inputs of similar length."""
        with self.turn:
            whole = self.tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        read = [self.frame.read(own.ids, self.truncation)[0][0] for own in whole]
        order = sorted(range(len(read)), key=lambda row: len(read[row]))
        written = [""] * len(texts)
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            length = max(len(read[row]) for row in rows)
            tokens = torch.full((len(rows), length), self.pad)  # (batch, length)
            mask = torch.zeros_like(tokens)
            for place, row in enumerate(rows):
                tokens[place, : len(read[row])] = torch.tensor(read[row])
                mask[place, : len(read[row])] = 1
            with self.turn:
                found = generation.generate(
                    self.model, tokens.to(self.device), mask.to(self.device), self.how
                )
            for row, text in zip(
                rows, generation.decoded(self.tokenizer, found.cpu(), self.spec.end), strict=True
            ):
                written[row] = text
        return written


mlflow.models.set_model(SequenceModel())
