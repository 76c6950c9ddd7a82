"""What models of images with texts answer, whatever computes their logits. Without torch.

Input: the images and texts of a request -> a DataFrame with one row per pair of both, as the model's task
answers.
"""

import abc
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from baton.serve import text_reader
from baton.serve.served_model import ServedModel
from baton.serve.text_reader import TextReader
from baton.tasks import answers
from baton.texts.pair_windows import Read

BATCH_SIZE = 32
COLUMNS = ("image", "text")


class ImageTextModel(ServedModel, abc.ABC):
    """A model of images with texts, of which a subclass computes the logits."""

    workers: int  # threads that decode
    text: TextReader

    @abc.abstractmethod
    def logits(
        self, images: Sequence[Any], rows: Sequence[int], threads: ThreadPoolExecutor, read: list[Read]
    ) -> NDArray[np.float32]:
        """Return the logits (batch, width) of some rows.

        Args:
            images: of the request.
            rows: which of them.
            threads: that decode images.
            read: the texts of the rows.

        Raises:
            ValueError: If a row's file is missing, not an image, or enormous.
            TypeError: If a row is neither bytes nor a string nor a path.
        """

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

    def _predicted(self, images: list[Any], texts: list[str], batch_size: int) -> NDArray[np.float32]:
        """Return logits (rows, width) in the order of the rows.

        Batches consist of rows whose texts have similar lengths. Threads decode the images; only those of one
        batch are in memory at a time.
        """
        result = np.zeros((len(texts), self.task.spec.width), np.float32)
        with self.turn:
            read = self.text.read(texts) if texts else []
        with ThreadPoolExecutor(self.workers) as threads:
            for rows in text_reader.batches([own.windows for own in read], batch_size):
                result[rows] = self.logits(images, rows, threads, [read[row] for row in rows])
        return result


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
