"""What a cell of the label column means if each row has a text as its target; see `target_cells.TargetCells`.

A text has no names, so checks of names find nothing; those of rows (duplicates, leakage, conflicts) apply.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np

from baton import params
from baton.contracts.task_spec import Sequence
from baton.tables import label_checks, labels, row_sets
from baton.tables.checks import SURROGATE, Check
from baton.tables.rows import Cell, RawTable, plain
from baton.tables.unnamed_cells import UnnamedCells

SHOWN = 40  # characters of a target in a message


@dataclass(frozen=True)
class SequenceCells(UnnamedCells):
    """A cell is the target text, kept as it is without white space at its ends."""

    settings: params.SequenceTask

    word: ClassVar[str] = "text"
    words: ClassVar[str] = "texts"
    found: ClassVar[str] = "written"
    names_leave: ClassVar[bool] = False
    joined: ClassVar[None] = None

    def read(self, value: Any) -> Cell | str:
        """Return the target of a cell, or the fault; a target without a visible character is missing."""
        words = plain(value)
        if words is None:
            return f"target is a {type(value).__name__}; a text is needed"
        return Cell(words.strip() if labels.visible(words) else "")

    def checks(self) -> dict[str, Check]:
        """Return the checks of missing targets, and of different targets of one source."""
        return {
            "missing_label": label_checks.missing_label,
            "conflict": partial(label_checks.conflict, shown=_shown),
        }

    def too_few(self, train: Iterable[str]) -> str:
        """Return that train has no target, if so."""
        return "" if any(train) else "no targets: no row of train has a text as its target after the checks"

    def notes(self, table: RawTable, known: Mapping[str, str]) -> list[str]:  # noqa: ARG002
        """Return a note if targets repeat as class names do: the task may be another one."""
        rows = len(table.rows)
        numbers = row_sets.numbered((row.label for row in row_sets.brief(table.rows)), rows)
        there = np.fromiter((bool(row.label) for row in row_sets.brief(table.rows)), np.bool_, rows)
        count, different = int(there.sum()), len(np.unique(numbers[there]))
        if count < 100 or different > count // 50:
            return []
        text = f"{table.path}: {count} rows have only {different} different targets"
        return [f"{text}; if these are classes, set task.kind to classes"]

    def spec(self, names: list[str], train: Iterable[str] = ()) -> Sequence:  # noqa: ARG002
        """Return the task; `tokenize` adds what depends on the tokenizer."""
        own = self.settings
        return Sequence(own.target_length, own.beams, own.validation_rows)

    def type(self) -> Any:
        """Return the Arrow type of the clean column: string."""
        import pyarrow as pa

        return pa.string()

    def target(self, label: str, places: Mapping[str, int]) -> str:  # noqa: ARG002
        """Return the text; bytes that are not valid UTF-8 become the replacement character."""
        return SURROGATE.sub("\ufffd", label)


def _shown(target: str) -> str:
    return target if len(target) <= SHOWN else f"{target[: SHOWN - 1]}…"
