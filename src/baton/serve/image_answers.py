"""What models of images answer, whatever computes their logits. Without torch.

Input: the images of a request -> a DataFrame with one row per image, as the model's task answers.
"""

import abc
import json
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from baton.contracts import fitted_values, input_spec, task_spec
from baton.serve import model_settings
from baton.tasks import answers, served_files, served_limits, task_figures

BATCH_SIZE = 32


class ImageModel(mlflow.pyfunc.PythonModel, abc.ABC):  # type: ignore[name-defined,misc]
    """A model of images, of which a subclass computes the logits."""

    workers: int  # threads that decode

    @abc.abstractmethod
    def logits(
        self, images: Sequence[Any], rows: Sequence[int], threads: ThreadPoolExecutor
    ) -> NDArray[np.float32]:
        """Return the logits of some rows, (rows, width); the threads decode their images.

        Raises:
            ValueError: If a row's file is missing, not an image, or enormous.
            TypeError: If a row is neither bytes nor a string nor a path.
        """

    def open(self, context: Any) -> tuple[Path, dict[str, Any], input_spec.ImageInput]:
        """Read the settings; return the model folder, the content of its baton.json, and the model's input.

        Raises:
            ValueError: If a setting in model_config is invalid.
        """
        self.limits = served_limits.read(model_settings.limits(context.model_config), "images")
        self.turn = (
            threading.Lock()
        )  # of one computation: several together would need several times the memory
        folder = Path(context.artifacts["model"])
        info = json.loads((folder / "baton.json").read_text(encoding="utf-8"))
        self.task = task_figures.of(task_spec.read(info))
        self.fitted = fitted_values.read(info)
        reads = input_spec.read(info["input"], "baton.json: input")
        assert isinstance(reads, input_spec.ImageInput), "models of other inputs are logged with another file"
        return folder, info, reads

    def predict(self, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Classify images; the result has the input's index, if any.

        Raises:
            ValueError: If the input is not a column of images, a row's file is missing, not an image, or
                enormous, or the request exceeds a limit.
            TypeError: If a row is neither bytes nor a string nor a path.
        """
        batch_size = self.limits.batch_size(params, BATCH_SIZE)
        images, index = answers.column(model_input, "image", served_files.LONE)
        self.limits.check_rows(len(images))
        self.limits.check_files(images)
        return self.task.answer(self._predicted(images, batch_size), self.fitted, index)

    def _predicted(self, images: list[Any], batch_size: int) -> NDArray[np.float32]:
        """Return logits (images, width) in the order of the images.

        Threads decode the images; only those of one batch are in memory at a time.
        """
        result = np.zeros((len(images), self.task.spec.width), np.float32)
        with ThreadPoolExecutor(self.workers) as threads:
            for start in range(0, len(images), batch_size):
                rows = range(start, min(start + batch_size, len(images)))
                result[start : start + batch_size] = self.logits(images, rows, threads)
        return result
