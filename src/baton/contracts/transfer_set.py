"""The transfer set, from which a student learns what its teacher knows: rows with labels and without.

`download` writes data/raw/unlabelled, a file or a folder of files, if params `source.unlabelled` name any.
`preprocess` writes data/clean/unlabelled.parquet (`id`, `text`, and `text_pair` if rows are pairs; no
targets): the rows of these files and those that `preprocess.shots` leaves of train. `tokenize` writes the
split `transfer` of data/arrays: the rows of train, followed by these. Neither exists if there are no such
rows.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

RAW = "unlabelled"  # in manifest.json of data/raw; also what ids of its rows begin with
TABLE = "unlabelled.parquet"  # next to the clean tables
TRANSFER = "transfer"  # a split of data/arrays


def mask_path(folder: Path, split: str) -> Path:
    """Return the file that says which rows of a split have labels, (rows,) bool; without it all have."""
    return folder / f"{split}.labelled.npy"


def write_mask(folder: Path, split: str, labelled: int, rows: int) -> None:
    """Write that the first `labelled` of a split's `rows` have labels."""
    np.save(mask_path(folder, split), np.arange(rows) < labelled)


def mask(folder: Path, split: str, rows: int) -> NDArray[np.bool_]:
    """Return which of a split's `rows` have labels, (rows,)."""
    path = mask_path(folder, split)
    if not path.is_file():
        return np.ones(rows, np.bool_)
    found: NDArray[np.bool_] = np.load(path, allow_pickle=False)
    return found
