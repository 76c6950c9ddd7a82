"""What models of images answer, whatever computes their logits. Without torch.

Input: the images of a request -> a DataFrame with one row per image, as the model's task answers.
"""

import abc
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from baton.serve.served_model import ServedModel
from baton.tasks import answers, served_files

BATCH_SIZE = 32


class ImageModel(ServedModel, abc.ABC):
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
