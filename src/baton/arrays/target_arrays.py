"""Write the targets of a clean table as arrays, and open them; `contracts.targets` describes the files."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa

from baton.arrays import sequence_targets
from baton.arrays.growing_array import Growing
from baton.contracts import questions, targets
from baton.contracts.targets import Targets
from baton.contracts.task_spec import Sequence, Spans, TaskSpec
from baton.errors import DataError


class Writer:
    """Appends the targets of a split's rows; leaving the `with` block closes the files."""

    def __init__(
        self, folder: Path, split: str, spec: TaskSpec, encoder: sequence_targets.Encoder | None = None
    ) -> None:
        """Entering the `with` block overwrites the files in `folder`; `encoder` is that of texts."""
        self._spec, self._encoder = spec, encoder
        self.encoded: list[sequence_targets.Encoded] = []  # of texts
        self._files = {
            name: Growing(path, targets.dtype(spec), targets.shape(spec))
            for name, path in targets.paths(folder, split, spec).items()
        }
        self._total = 0

    def append(self, rows: pa.RecordBatch) -> Targets:
        """Append the targets of some rows of a clean table, and return them.

        Raises:
            DataError: the column has an empty cell, or targets of another type.
        """
        own = found = targets.of_table(rows, self._spec)
        if self._encoder is not None:
            self.encoded.append(self._encoder.encode(found.values.tolist()))
            found = self.encoded[-1].targets
        self._files["values"].append(found.values)
        if found.offsets is not None:
            self._files["offsets"].append(self._total + found.offsets[1:])
            self._total += len(found.values)
        return own

    def __enter__(self) -> Self:
        for name, file in self._files.items():
            file.__enter__()
            if name == "offsets":
                file.append(np.zeros(1, np.int64))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for file in self._files.values():
            file.__exit__(kind, error, traceback)


def copy_texts(table: Path, folder: Path, split: str, spec: TaskSpec) -> None:
    """Copy what figures read as texts from a clean table next to a split's targets, if the task has such."""
    match spec:
        case Sequence():
            sequence_targets.write_texts(folder, split, table, spec.column)
        case Spans():
            questions.copy(table, folder, split)


def open_targets(folder: Path, split: str, spec: TaskSpec) -> Targets:
    """Memory-map the targets of one split.

    Raises:
        DataError: a file is missing, the files do not match, or a target is not one that the task knows.
    """
    opened: dict[str, Any] = {}
    hint = "run `dvc repro --force tokenize`"
    for name, path in targets.paths(folder, split, spec).items():
        if not path.is_file():
            raise DataError(
                f"{path} is missing",
                expected="an array written by `tokenize`",
                hint="run `dvc repro tokenize`",
            )
        opened[name] = np.load(path, mmap_mode="r", allow_pickle=False)
    found = Targets(spec, **opened)
    if isinstance(spec, Spans):
        found = replace(found, passages=partial(questions.read, folder, split))
    if found.offsets is not None and found.offsets[-1] != len(found.values):
        got = f"{len(found.values)} targets, offsets to {found.offsets[-1]}"
        raise DataError(f"{folder}/{split}.targets*.npy do not match", got=got, hint=hint)
    if found.values.dtype != targets.dtype(spec) or found.values.shape[1:] != targets.shape(spec):
        got = f"{found.values.dtype} {found.values.shape}"
        raise DataError(f"{folder}/{split}.targets.npy does not match the task", got=got, hint=hint)
    refuse_unknown(found, folder, split)
    return found


def refuse_unknown(found: Targets, folder: Path, split: str) -> None:
    """Refuse targets that the task does not know.

    Raises:
        DataError: one is.
    """
    values, most = found.values, targets.most(found.spec)
    if values.dtype == np.int64 and len(values) and not 0 <= values.min() <= values.max() <= most:
        raise DataError(
            f"{folder}/{split}.targets.npy does not match the task",
            got=f"targets {values.min()} to {values.max()}",
            expected=f"0 to {most}",
            hint="run `dvc repro --force tokenize`",
        )
