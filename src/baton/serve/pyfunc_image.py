"""An image model as an MLflow model.

MLflow copies this file, the model folder and the Baton modules imported here into the logged model ("models
from code") and runs the file when the model is loaded. In the logged model, these modules belong to a package
of a different name (`tracking.served_code`), so Baton need not be installed, and an installed version has no
effect.

Input: images, each as encoded bytes (PNG, JPEG, HEIC, …), as a base64 string (bare or a `data:` URI) or as a
`pathlib.Path`; a single image, a list, a Series, an array of objects, or a DataFrame whose first column is
called `image`.
Output: a DataFrame with one row per image, as the model's task answers (`tasks.task_figures`) from the logits
and the values fitted on validation, which are in `baton.json`. Params: `batch_size`.

    mlflow.pyfunc.load_model("models:/MODEL_ID").predict([pathlib.Path("image.png")])

Strings are base64, never paths, since a request must not read the server's files; to allow paths, set
SERVING_MODEL_CONFIG='{"serve_paths": true}' of a server, or pass `model_config={"serve_paths": True}` to
`load_model`. `tasks.served_limits` lists the other settings.
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

from baton.contracts import fitted_values, input_spec, saved_weights, task_spec
from baton.serve import precision
from baton.serve.image_requests import ImageReader
from baton.tasks import answers, served_files, served_limits, task_figures

BATCH_SIZE = 32


class ImageClassifier(mlflow.pyfunc.PythonModel):  # type: ignore[name-defined,misc]
    """A timm backbone with the head described in the model folder's `baton.json`.

    It runs on a GPU if there is one, in the precision of its model_config.
    """

    def load_context(self, context: Any) -> None:
        """Read the model folder `context.artifacts["model"]`.

        Raises:
            RuntimeError: If the weights do not match the config.
            ValueError: If a setting in model_config is invalid.
        """
        settings, wanted = precision.split(context.model_config)
        self.limits = served_limits.read(settings, "images")
        self.turn = (
            threading.Lock()
        )  # of one computation: several together would need several times the memory
        folder = Path(context.artifacts["model"])
        info = json.loads((folder / "baton.json").read_text(encoding="utf-8"))
        self.task = task_figures.of(task_spec.read(info))
        self.fitted = fitted_values.read(info)
        reads = input_spec.read(info["input"], "baton.json: input")
        assert isinstance(reads, input_spec.ImageInput), "models of other inputs are logged with another file"
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.reader = ImageReader(reads, self.limits, self.device)
        weights, head = saved_weights.read(folder, self.device)
        self.head = precision.own_head(head)

        def made(_: torch.dtype) -> Any:
            # config.json also sets the pooling that the head expects.
            backbone = timm.create_model(f"local-dir:{folder}", pretrained=False)
            backbone.load_state_dict(weights)
            return backbone

        computes = precision.resolved(wanted, self.device)
        self.backbone, self.precision = precision.prepared(made, computes, self.device, self.reader.tried)

    def predict(self, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Classify images; the result has the input's index, if any.

        Raises:
            ValueError: If the input is not a column of images, a row's file is missing, not an image, or
                enormous, or the request exceeds a limit.
            TypeError: If a row is neither bytes nor a string nor a path.
        """
        batch_size = self.limits.batch_size(params, BATCH_SIZE)
        images, index = _images(model_input)
        self.limits.check_rows(len(images))
        self.limits.check_files(images)
        return self.task.answer(self._predicted(images, batch_size), self.fitted, index)

    @torch.no_grad()
    def _predicted(self, images: list[Any], batch_size: int) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Return logits (images, width) in the order of the images.

        Threads decode the images; only those of one batch are in memory at a time.
        """
        result = np.zeros((len(images), self.task.spec.width), np.float32)
        with ThreadPoolExecutor(torch.get_num_threads()) as threads:
            for start in range(0, len(images), batch_size):
                rows = range(start, min(start + batch_size, len(images)))
                pixels = self.reader.read(images, rows, threads)
                with self.turn:
                    result[start : start + batch_size] = self._logits(pixels).cpu().numpy()
        return result

    def _logits(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return logits (batch, width) of normalised pixels (batch, channels, height, width)."""
        return self.head(self.backbone(pixels.to(precision.dtype(self.precision))).float())


def _images(data: Any) -> tuple[list[Any], Any]:
    """Return one value per image of any accepted input and, for pandas objects, their index."""
    return answers.column(data, "image", served_files.LONE)


mlflow.models.set_model(ImageClassifier())
