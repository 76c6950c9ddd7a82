"""The questions of a split as figures read them: marks of units, contexts, and the true answers as texts.

File: `{split}.targets.parquet` with the columns `text_pair` and `answers` of the clean table.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baton.contracts import text_pairs
from baton.contracts.ragged import Integers, Ragged

COLUMNS = (text_pairs.COLUMN, "answers")


@dataclass(frozen=True)
class Passages:
    """The contexts of some rows, and the true answers to their questions, both (rows,) of objects."""

    contexts: NDArray[Any]  # strings
    answers: NDArray[Any]  # tuples of strings; empty if the question has no answer

    def __getitem__(self, rows: Any) -> "Passages":
        return Passages(self.contexts[rows], self.answers[rows])


@dataclass(frozen=True)
class Questions(Ragged):
    """The marks of each row's units (`task_spec.Spans`), and its passage."""

    passages: Passages

    def __getitem__(self, rows: Any) -> "Questions":
        """Return the questions of `rows` alone, in that order: indices, a slice, or a mask (rows,)."""
        own = super().__getitem__(rows)
        return Questions(own.values, own.offsets, self.passages[rows])


def passages(table: Any) -> Passages:
    """Return the passages of an Arrow table or batch with `COLUMNS`."""
    texts = [tuple(answers["text"]) for answers in table["answers"].to_pylist()]
    return Passages(_objects(table[text_pairs.COLUMN].to_pylist()), _objects(texts))


def copy(table: Path, folder: Path, split: str) -> None:
    """Copy the passages of a clean table next to a split's arrays."""
    import pyarrow.parquet as pq

    pq.write_table(pq.read_table(table, columns=list(COLUMNS)), _path(folder, split))


def read(folder: Path, split: str) -> Passages:
    """Return the passages next to a split's arrays."""
    import pyarrow.parquet as pq

    return passages(pq.read_table(_path(folder, split), columns=list(COLUMNS)))


def taken(whole: Any, rows: Integers) -> Passages:
    """Return the passages of `rows`; `whole` returns those of all rows."""
    found: Passages = whole()[rows]
    return found


def _path(folder: Path, split: str) -> Path:
    return folder / f"{split}.targets.parquet"


def _objects(values: list[Any]) -> NDArray[Any]:
    """Return a list as an array (rows,), of whatever its values are."""
    found = np.empty(len(values), dtype=object)
    found[:] = values
    return found
