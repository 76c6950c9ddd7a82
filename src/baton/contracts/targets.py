"""The targets of one split: what its rows should be predicted as.

Files: `{split}.targets.npy` (int64; of numbers float64), and `{split}.targets.offsets.npy` (int64, rows + 1)
if the number of targets differs from row to row. Those of texts are tokens, and `{split}.targets.parquet` has
the texts; of questions it has contexts and answers (`contracts.questions`).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baton.contracts import questions, text_pairs
from baton.contracts.questions import Passages, Questions
from baton.contracts.ragged import Ragged, taken
from baton.contracts.task_spec import Classes, Labels, Numbers, Sequence, Spans, TaskSpec, Tokens
from baton.errors import DataError


@dataclass(frozen=True)
class Targets:
    """The targets of one split, memory-mapped."""

    spec: TaskSpec
    # (rows,); ragged: (targets,), those of row i from offsets[i] to offsets[i + 1]. Texts that are not
    # tokenized: (rows,) of strings. Numbers: (rows, width) float64, in their unit.
    values: NDArray[Any]
    offsets: NDArray[np.int64] | None = None  # (rows + 1,)
    # (targets,), whether the model has an output for it; None: it has for all. Only if each unit of a row
    # has a target.
    read: NDArray[np.bool_] | None = None
    # Returns the contexts and answers of the rows, if they are questions: only figures read them.
    passages: Callable[[], Passages] | None = None

    def __len__(self) -> int:
        return len(self.values) if self.offsets is None else len(self.offsets) - 1

    def take(self, rows: NDArray[np.int64]) -> Any:
        """Return the targets of `rows` (batch,) as losses and figures read them.

        - classes: (batch,) int64.
        - labels: (batch, width) float32, 1 for the row's labels, 0 for others.
        - numbers: (batch, width) float64, in their unit.
        - sequence: all tokens, (tokens,) int64; texts (batch,) if they are not tokenized.
        - tokens: a tag for each word, `Ragged` int64; `Batch.targets` has those of words that are read.
        - spans: a mark for each unit, `Questions`, which are `Ragged` too; likewise.
        """
        match self.spec:
            case Tokens():
                return Ragged(*self._units(rows))
            case Spans():
                assert self.passages is not None, "arrays and clean tables have them"
                return Questions(*self._units(rows), questions.taken(self.passages, rows))
            case Classes():
                return np.asarray(self.values[rows], dtype=np.int64)
            case Labels(names=names):
                marked = np.zeros((len(rows), len(names)), np.float32)
                marked[self.part(rows).pairs] = 1
                return marked
            case Sequence():
                return np.asarray(self.part(rows).values)
            case Numbers():
                return np.asarray(self.values[rows], dtype=np.float64)

    def _units(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the targets of the units of `rows`, (units,), and their offsets."""
        assert self.offsets is not None, "the number of units differs from row to row"
        places, offsets = taken(self.offsets, rows)
        return self.values[places], offsets

    def part(self, rows: NDArray[np.int64]) -> "Targets":
        """Return the targets of `rows` alone, in that order."""
        if self.offsets is None:
            return Targets(self.spec, self.values[rows])
        places, offsets = taken(self.offsets, rows)
        read = None if self.read is None else self.read[places]
        known = None if self.passages is None else partial(questions.taken, self.passages, rows)
        return Targets(self.spec, self.values[places], offsets, read, known)

    @property
    def counts(self) -> NDArray[np.int64]:
        """The number of targets over which a row's loss is summed, (rows,): of texts, their tokens.

        A question counts once: its units are the outcomes of one choice.
        """
        if isinstance(self.spec, Spans):
            return np.ones(len(self), np.int64)
        if isinstance(self.spec, Sequence) and self.offsets is not None:
            return np.diff(self.offsets)
        if self.read is not None and self.offsets is not None:
            return Ragged(self.read, self.offsets).sums(self.read.astype(np.int64))
        return np.ones(len(self), np.int64)

    @property
    def all(self) -> Any:
        """The targets of all rows, as `take` returns them."""
        return self.take(np.arange(len(self)))

    @property
    def pairs(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Each target as its row and its index into the task's names, both (targets,).

        Texts, numbers and answers have none.
        """
        if isinstance(self.spec, Sequence | Numbers | Spans):
            return np.empty(0, np.int64), np.empty(0, np.int64)
        if self.offsets is None:
            return np.arange(len(self)), np.asarray(self.values)
        if isinstance(self.spec, Tokens):  # each entity, by its first word
            begins = np.flatnonzero(self.values % 2)
            return Ragged(self.values, self.offsets).owners[begins], self.values[begins] // 2
        return np.repeat(np.arange(len(self)), np.diff(self.offsets)), np.asarray(self.values)


def columns(spec: TaskSpec) -> list[str]:
    """Return the columns of a clean table that `of_table` reads."""
    return [text_pairs.COLUMN, spec.column] if isinstance(spec, Spans) else [spec.column]


def of_table(table: Any, spec: TaskSpec) -> Targets:
    """Return the targets in a clean table (an Arrow table or batch with `columns`).

    They are integers, lists of them, texts, lists of numbers, or answers.

    Raises:
        DataError: a cell is empty, a target has another type, or a number is not finite.
    """
    import pyarrow as pa

    column = table[spec.column]
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if isinstance(spec, Spans):
        if not pa.types.is_struct(column.type) or column.null_count:
            raise _no_targets(column, spec, "answers with the marks of words, none empty")
        found = _of_column(column.field("marks"), spec)
        return replace(found, passages=partial(questions.passages, table))
    return _of_column(column, spec)


def _of_column(column: Any, spec: TaskSpec) -> Targets:
    import pyarrow as pa

    if isinstance(spec, Sequence):
        return _of_texts(column, spec)
    if isinstance(spec, Numbers):
        return Targets(spec, _numbers(column, spec))
    values = column.flatten() if spec.ragged else column
    if column.null_count or values.null_count or not pa.types.is_integer(values.type):
        raise _no_targets(column, spec, "integers, none empty", values.null_count)
    # to_numpy() would import pandas, which takes longer than tokenizing thousands of documents.
    found = np.from_dlpack(values).astype(np.int64)
    if not spec.ragged:
        return Targets(spec, found)
    ends = np.cumsum(np.from_dlpack(column.value_lengths()), dtype=np.int64)
    return Targets(spec, found, np.concatenate([[0], ends]))


def _no_targets(column: Any, spec: TaskSpec, expected: str, more: int = 0) -> DataError:
    return DataError(
        f"column {spec.column} of the clean table has no targets",
        got=f"{column.type} with {column.null_count + more} empty cells",
        expected=expected,
        hint="run `dvc repro --force preprocess`",
    )


def _of_texts(column: Any, spec: Sequence) -> Targets:
    import pyarrow as pa

    if column.null_count or column.type != pa.string():
        raise _no_targets(column, spec, "texts, none empty")
    return Targets(spec, np.array([*column.to_pylist(), None], dtype=object)[:-1])


def dtype(spec: TaskSpec) -> type[np.int64] | type[np.float64]:
    """Return the type of `Targets.values`."""
    return np.float64 if isinstance(spec, Numbers) else np.int64


def most(spec: TaskSpec) -> int:
    """Return the highest value of a target that is an integer."""
    return Spans.STARTS + Spans.ENDS if isinstance(spec, Spans) else spec.width - 1


def shape(spec: TaskSpec) -> tuple[int, ...]:
    """Return the shape of a row of `Targets.values`."""
    return (spec.width,) if isinstance(spec, Numbers) else ()


def _numbers(column: Any, spec: Numbers) -> NDArray[np.float64]:
    """Return (rows, width) of a column of fixed-size lists."""
    import pyarrow as pa

    wanted = pa.list_(pa.float64(), spec.width)
    values = column.flatten() if column.type == wanted and not column.null_count else None
    found = None if values is None or values.null_count else np.array(np.from_dlpack(values))
    if found is None or not np.isfinite(found).all():
        raise DataError(
            f"column {spec.column} of the clean table has no targets",
            got=f"{column.type} with empty cells or numbers that are not finite",
            expected=f"{wanted}, all finite",
            hint="run `dvc repro --force preprocess`",
        )
    return found.reshape(-1, spec.width)


def paths(folder: Path, split: str, spec: TaskSpec) -> dict[str, Path]:
    """Return the files of a split's targets: name of the field -> path."""
    found = {"values": folder / f"{split}.targets.npy"}
    return found | ({"offsets": folder / f"{split}.targets.offsets.npy"} if spec.ragged else {})
