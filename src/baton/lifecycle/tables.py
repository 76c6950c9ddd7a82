"""The frozen test table, and the digests of rows by which a model's training data is compared with it.

Input: a Parquet table `id, text, label` with `labels.json` beside it, as `preprocess` writes them. A row's digest is that of its text after
case and white space are evened out, so a copy with another spelling of these is the same row.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from baton import storage
from baton.data import checks
from baton.errors import DataError

DIGEST_BYTES = 8  # of SHA-256: among a million rows two share one with a probability of 3e-8


@dataclass(frozen=True)
class Table:
    """Rows to score on."""

    path: Path
    sha256: str
    ids: list[str]
    texts: list[str]
    labels: NDArray[np.int64]  # (rows,), index into `names`
    names: list[str]


def read(path: Path) -> Table:
    """Read a table.

    Raises:
        DataError: it is missing, or has not the columns.
    """
    names = path.parent / "labels.json"
    if not path.is_file() or not names.is_file():
        missing = path if not path.is_file() else names
        hint = "run `make repro`, or set promotion.test to a table with labels.json beside it"
        raise DataError(f"{missing} is missing", expected="the frozen test table", hint=hint)
    table = pq.read_table(path)
    if absent := [name for name in ("id", "text", "label") if name not in table.column_names]:
        got, expected = ", ".join(table.column_names), "columns id, text and label"
        raise DataError(f"{path} has no column {absent[0]}", got=got, expected=expected, hint="take a table that preprocess wrote")
    labels = table.column("label").to_numpy().astype(np.int64)
    ids, texts = (table.column(name).to_pylist() for name in ("id", "text"))
    return Table(path, storage.sha256(path), ids, texts, labels, storage.read_json(names))


def digests(texts: Iterable[str]) -> list[str]:
    """The digest of each row, in hexadecimal."""
    return [hashlib.sha256(checks.key(text).encode()).hexdigest()[: 2 * DIGEST_BYTES] for text in texts]


def training_digests(clean: Path) -> list[str]:
    """Digests of the rows that a model was trained or selected on: train and val of data/clean, sorted."""
    texts = (text for split in ("train", "val") for text in pq.read_table(clean / f"{split}.parquet", columns=["text"])["text"].to_pylist())
    return sorted(set(digests(texts)))
