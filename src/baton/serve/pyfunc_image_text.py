"""A model of images with texts as an MLflow model.

MLflow copies this file, the model folder and the Baton modules imported here into the logged model ("models
from code") and runs the file when the model is loaded. In the logged model, these modules belong to a package
of a different name (`tracking.served_code`), so Baton need not be installed, and an installed version has no
effect.

Input: a DataFrame with the columns `image` (encoded bytes, a base64 string or a `pathlib.Path`) and `text`,
or a list of dicts with these keys. A row needs both: one without an image or without a text is refused.
Output: a DataFrame with one row per input, as the model's task answers. Params: `batch_size`.

    mlflow.pyfunc.load_model("models:/MODEL_ID").predict(pandas.DataFrame({"image": …, "text": …}))

See `pyfunc_image` for paths and settings.
"""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import mlflow.models
import mlflow.pyfunc
import numpy as np
import pandas as pd
import timm
import torch
from torch.nn import functional

from baton.contracts import fitted_values, input_spec, saved_weights, task_spec
from baton.serve import precision, text_encoder
from baton.serve.image_requests import ImageReader
from baton.serve.text_encoder import TextEncoder
from baton.tasks import answers, served_limits, task_figures

BATCH_SIZE = 32
COLUMNS = ("image", "text")


class ImageTextClassifier(mlflow.pyfunc.PythonModel):  # type: ignore[name-defined,misc]
    """Two encoders with the head described in the model folder's `baton.json`.

    It runs on a GPU if there is one, in the precision of its model_config.
    """

    def load_context(self, context: Any) -> None:
        """Read the model folder `context.artifacts["model"]`.

        Raises:
            RuntimeError: If the weights do not match the configs.
            ValueError: If a setting in model_config is invalid.
        """
        settings, wanted = precision.split(context.model_config)
        self.limits = served_limits.read(settings, "image_text")
        self.turn = (
            threading.Lock()
        )  # of one computation: several together would need several times the memory
        folder = Path(context.artifacts["model"])
        info = json.loads((folder / "baton.json").read_text(encoding="utf-8"))
        self.task = task_figures.of(task_spec.read(info))
        self.fitted = fitted_values.read(info)
        reads = input_spec.read(info["input"], "baton.json: input")
        assert isinstance(reads, input_spec.ImageTextInput), "models of other inputs have another file"
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        weights, head = saved_weights.read(folder, self.device)
        self.head = precision.own_head(head)
        parts = {name: _part(weights, f"{name}.backbone.") for name in COLUMNS}
        self.reader = ImageReader(reads.image, self.limits, self.device)

        def made(_: torch.dtype) -> Any:
            # config.json also sets the pooling that the head expects.
            backbone = timm.create_model(f"local-dir:{folder / 'image'}", pretrained=False)
            backbone.load_state_dict(parts["image"])
            return backbone

        computes = precision.resolved(wanted, self.device)
        self.image, self.precision = precision.prepared(made, computes, self.device, self.reader.tried)
        own = reads.text, info["head"]["pooling"], parts["text"]
        self.text = TextEncoder(folder / "text", *own, self.device, computes)
        norms = _part(weights, "norms.")
        self.norms = {name: tensor.to(self.device) for name, tensor in norms.items()}

    def predict(self, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Classify images with their texts; the result has the input's index, if any.

        Raises:
            ValueError: If a column is missing, a text is empty, an image's file is missing, not an image,
                or enormous, or the request exceeds a limit.
            TypeError: If an image is neither bytes nor a string nor a path, or a text is not a string.
        """
        batch_size = self.limits.batch_size(params, BATCH_SIZE)
        images, texts, index = _columns(model_input, self.limits.accept_empty)
        self.limits.check_rows(len(texts))
        self.limits.check_texts(texts)
        self.limits.check_files(images)
        return self.task.answer(self._predicted(images, texts, batch_size), self.fitted, index)

    @torch.no_grad()
    def _predicted(
        self, images: list[Any], texts: list[str], batch_size: int
    ) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Return logits (rows, width) in the order of the rows.

        Batches consist of rows whose texts have similar lengths. Threads decode the images; only those of one
        batch are in memory at a time.
        """
        result = np.zeros((len(texts), self.task.spec.width), np.float32)
        with self.turn:
            read = self.text.read(texts) if texts else []
        with ThreadPoolExecutor(torch.get_num_threads()) as threads:
            for rows in text_encoder.batches([own.windows for own in read], batch_size):
                pixels = self.reader.read(images, rows, threads)
                with self.turn:
                    features = {
                        "image": self.image(pixels.to(precision.dtype(self.precision))).float(),
                        "text": self.text.features([read[row] for row in rows]),
                    }
                    fused = torch.cat([self._normed(name, features[name]) for name in COLUMNS], dim=1)
                    result[rows] = self.head(fused).cpu().numpy()  # (batch, width)
        return result

    def _normed(self, name: str, features: torch.Tensor) -> torch.Tensor:
        weight, bias = (self.norms[f"{name}.{part}"] for part in ("weight", "bias"))
        return functional.layer_norm(features, (features.shape[1],), weight, bias)


def _part(weights: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): own for name, own in weights.items() if name.startswith(prefix)}


def _columns(data: Any, accept_empty: bool) -> tuple[list[Any], list[str], Any]:
    """Return the images and texts of any accepted input and, for a DataFrame, its index."""
    index = data.index if isinstance(data, pd.DataFrame) else None
    table = data if isinstance(data, pd.DataFrame) else pd.DataFrame(list(data))
    if len(table) and (missing := [name for name in COLUMNS if name not in table.columns]):
        raise answers.refused(
            ValueError,
            f"the input has no column {missing[0]!r}",
            ", ".join(map(str, table.columns)),
            "columns 'image' and 'text'",
            "pass a DataFrame, or a list of dicts, with both",
        )
    images, texts = (table[name].tolist() if len(table) else [] for name in COLUMNS)
    for row, text in enumerate(texts):
        answers.check_text(text, f"the text of row {row}", accept_empty)
    return images, texts, index


mlflow.models.set_model(ImageTextClassifier())
