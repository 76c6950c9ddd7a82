"""Read a file of soft labels, and keep what it says of texts that a student learns from.

The file's own name says how it is read: CSV or TSV with a header, JSON Lines, or Parquet. Its rows are not
kept, but for a digest and the numbers of those that count.
"""

from array import array
from collections import Counter
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baton import params
from baton.contracts import soft_labels
from baton.errors import DataError
from baton.tables import columns, readers, run_checks, soft_label_columns
from baton.tables.columns import Columns
from baton.tables.rows import NO_EXTRAS, NO_PAIR, Extras, RawTable, Row, plain
from baton.tables.soft_label_cells import NEGATIVE, ClassColumns, LabelColumn, listed
from baton.tables.unlabelled_table import digest

SHOWN, SHOWN_CHARACTERS = 5, 40
UNMATCHED = "unmatched"
OF_CLASSES = (
    "in each row a text, and for each class a probability or another weight from 0, not all of them 0"
)
OF_LABELS = "in each row a text and a class"


@dataclass
class SoftRows(RawTable):
    """The rows of the file, of which only digests and numbers are kept, and only if they count."""

    said: ClassColumns | LabelColumn = field(kw_only=True)
    learnt: Container[bytes] = field(kw_only=True)  # digests of the texts that a student learns from
    held: Mapping[str, Container[bytes]] = field(
        kw_only=True
    )  # split -> digests of its texts: none may count
    passed: int = 0
    dropped: Counter[str] = field(default_factory=Counter)  # `in SPLIT` or UNMATCHED -> rows
    unmatched: str = ""  # the first such row
    digests: list[bytes] = field(default_factory=list)  # of the rows that count
    ids: list[str] = field(default_factory=list)
    numbers: "array[float]" = field(default_factory=lambda: array("d"))

    @property
    def readable(self) -> int:
        """The number of rows that could be read."""
        return self.passed

    def add(self, text: Any, label: Any, extras: Extras | str = NO_EXTRAS, pair: Any = NO_PAIR) -> None:  # noqa: ARG002
        """Append a row, whose `label` are the cells that `said` reads."""
        words, second = plain(text), None if pair is NO_PAIR else plain(pair)
        if words is None or (second is None and pair is not NO_PAIR):
            value = text if words is None else pair
            self.reject(f"a text is a {type(value).__name__}; text or a number is needed")
            return
        row = Row(self.split, self.count + 1, words, "", pair=second)
        numbers = self.said.numbers(label, row.id)
        if isinstance(numbers, str):
            self.reject(numbers)
            return
        self.passed += 1
        self._keep(run_checks.readable(row), numbers)

    def _keep(self, row: Row, numbers: tuple[float, ...]) -> None:
        own = digest(row)
        if split := next((split for split, known in self.held.items() if own in known), None):
            self.dropped[f"in {split}"] += 1
        elif own in self.learnt:
            self.digests.append(own)
            self.ids.append(row.id)
            self.numbers.extend(numbers)
        else:
            self.dropped[UNMATCHED] += 1
            self.unmatched = self.unmatched or f"{row.id} ({row.whole[:SHOWN_CHARACTERS]!r})"

    def reject(self, reason: str, label: Any = None) -> None:  # noqa: ARG002
        """Append a row that cannot be used."""
        super().reject(reason)

    def probabilities(self) -> NDArray[np.float64]:
        """Return those of the rows that count, (rows, classes).

        Raises:
            DataError: A label is none of the classes.
        """
        return self.said.probabilities(np.array(self.numbers, np.float64).reshape(-1, self.said.width))


def read(
    path: Path,
    settings: params.TextPreprocess,
    classes: tuple[str, ...],
    learnt: Container[bytes],
    held: Mapping[str, Container[bytes]],
) -> SoftRows:
    """Read a file.

    Args:
        path: The file.
        settings: The names of its columns of texts and labels, and of raw labels.
        classes: The names of the task.
        learnt: Digests of the texts that a student learns from.
        held: Split -> digests of texts of which nothing may be learnt.

    Raises:
        DataError: The file is not a table, lacks a column, or has rows that cannot be used.
    """
    texts = Columns(settings.text_column, (), "", pair=settings.text_pair_column)
    names = readers.column_names(path, how := form(path, "source.soft_labels"), texts)
    for name in texts.names:
        if names.count(name) != 1:
            hint = "name the columns of its texts, in the first line of a CSV file, as preprocess does"
            raise columns.missing(path, name, names, texts, hint)
    others = [name for name in names if name not in texts.names]
    said = soft_label_columns.find(path, others, settings, classes)
    table = SoftRows(soft_labels.RAW, path, said=said, learnt=learnt, held=held)
    readers.fill(table, how, Columns(settings.text_column, said.read, "", pair=settings.text_pair_column))
    if table.malformed:
        raise _unusable(table)
    if isinstance(said, ClassColumns) and (ignored := [name for name in others if name not in said.read]):
        table.remarks.append(f"{path}: columns that name no class are not read: {listed(ignored)}")
    return table


def form(path: Path, key: str) -> params.Format:
    """Return the format that the name of a file says, which params name at `key`.

    Raises:
        DataError: It is a folder.
    """
    if path.is_dir():
        hint = f"name one file in {key}"
        raise DataError(f"{path} is a folder", got="several files", expected="one file", hint=hint)
    match path.suffix.lower():
        case ".jsonl":
            return params.JsonLinesFormat(kind="jsonl", encoding="auto")
        case ".parquet":
            return params.ParquetFormat(kind="parquet")
        case _:
            return params.DelimitedFormat(
                kind="delimited",
                encoding="auto",
                delimiter="auto",
                quote='"',
                escape=None,
                skip_lines=0,
                columns=None,
            )


def _unusable(table: SoftRows) -> DataError:
    shown = [f"\n    - {id_}: {reason}" for id_, reason in [*table.malformed.items()][:SHOWN]]
    more = len(table.malformed) - len(shown)
    hint = "fix these rows, or remove them"
    if any(NEGATIVE in reason for reason in table.malformed.values()):
        hint += "; of logits or log-probabilities write the softmax"
    return DataError(
        f"{table.path}: {len(table.malformed)} of {table.count} rows cannot be used",
        got="".join(shown) + (f"\n    - and {more} more" if more else ""),
        expected=OF_CLASSES if isinstance(table.said, ClassColumns) else OF_LABELS,
        hint=hint,
    )
