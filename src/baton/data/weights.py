"""Weights of rows, from the clean tables to the arrays: `{split}.weights.npy` (float32), where params name a column of weights."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from baton.errors import DataError

COLUMN = "weight"


def write(table: Path, target: Path) -> None:
    """Write the weights of a clean table, if it has any, beside its other arrays in `target`."""
    if COLUMN in pq.read_schema(table).names:
        weights = pq.read_table(table, columns=[COLUMN])[COLUMN].to_numpy().astype(np.float32)
        np.save(target / f"{table.stem}.weights.npy", weights)


def read(folder: Path, split: str, rows: int) -> NDArray[np.float32] | None:
    """Weights (rows,) of one split, whose mean is 1, so that the learning rate means what it does without; None where there are none.

    Raises:
        DataError: they are those of another number of rows.
    """
    path = folder / f"{split}.weights.npy"
    if not path.is_file():
        return None
    weights: NDArray[np.float32] = np.load(path, allow_pickle=False)
    if len(weights) != rows:
        hint = "run `dvc repro --force tokenize`"
        raise DataError(f"{path} does not fit the other arrays", got=f"{len(weights)} weights", expected=f"{rows}", hint=hint)
    scaled: NDArray[np.float32] = (weights / weights.mean(dtype=np.float64)).astype(np.float32)
    return scaled
