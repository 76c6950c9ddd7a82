"""A row of labelled text, and the rows of one raw file.

Rows are numbered from 1 in file order, without header lines and blank lines. Bytes that are not valid UTF-8
survive as lone surrogates (Python's `surrogateescape`), so that their row can be found and reported.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, time
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from baton.contracts import text_pairs
from baton.tables import labels


@dataclass(frozen=True, slots=True)
class Extras:
    """What a row has besides text and label; values not requested in params keep these defaults."""

    group: str = ""  # none
    time: float | None = None  # seconds, or the unit of its column
    weight: float = 1.0
    kept: tuple[str, ...] = ()  # values of `keep_columns`
    dated: bool = False  # the time was a date, not a number


NO_EXTRAS = Extras()
NO_KEY = object()  # the label of a record without the label's key
NO_PAIR = object()  # the second text of a row that is not a pair
FIRST, SECOND = "first text", "second text"  # of a pair, in messages


@dataclass(slots=True)
class Row:
    """One labelled text, or pair of texts, of a raw file; a missing text or label is empty.

    The label is the text of the row's target, whose names `target_cells.TargetCells.names` returns: for
    classes the name itself. `part` is the split that the row belongs to: that of its file, unless the file is
    cut by time. The text of an image is the digest of its pixels, and `caption` is the text next to it, if
    models read both.
    """

    split: str
    number: int
    text: str
    label: str
    extras: Extras = NO_EXTRAS
    part: str = ""
    pair: str | None = None  # the second text, if rows are pairs
    caption: str = ""

    def __post_init__(self) -> None:
        self.part = self.part or self.split

    @property
    def id(self) -> str:
        """The raw file's split and the row number, such as `train:17`."""
        return f"{self.split}:{self.number}"

    @property
    def whole(self) -> str:
        """The text, or both texts of a pair as one."""
        return text_pairs.whole(self.text, self.pair)

    @property
    def sides(self) -> dict[str, str]:
        """The text, or both texts of a pair, by what messages call them."""
        return {"text": self.text} if self.pair is None else {FIRST: self.text, SECOND: self.pair}


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of the label column: the label, and the names that were normalized (in the file, kept)."""

    label: str
    respelled: tuple[tuple[str, str], ...] = ()


class Joined(NamedTuple):
    """A text and the cell of its label, each complete in itself, and what is remarkable about the row."""

    text: str
    label: Any
    marks: frozenset[str] = frozenset()


def one_name(value: Any) -> Cell | str:
    """Read a cell of the label column as one name, see `labels.normal`; return the fault of another value."""
    if (spelled := plain(value)) is None:
        return f"label is a {type(value).__name__}; one label a row is needed"
    kept = labels.normal(spelled)
    return Cell(kept, ((spelled, kept),) if kept != spelled else ())


@dataclass
class RawTable:
    """The rows of one raw file or folder of files, and those that could not be read (id -> reason)."""

    split: str
    path: Path
    read_label: Callable[[Any], Cell | str] = one_name  # see target_cells.TargetCells
    part: str = ""  # the file that is being read, if there are several
    rows: Any = field(default_factory=list)  # a list, a `Spool` while they are read, or `StoredRows`
    malformed: dict[str, str] = field(default_factory=dict)
    rejected: dict[str, str] = field(default_factory=dict)  # malformed rows with a known label: id -> label
    blank_lines: int = 0
    remarks: list[str] = field(default_factory=list)  # notes on the file for the user
    guessed: str = ""  # the encoding, if it is a guess
    unlabelled: set[str] = field(default_factory=set)  # ids of rows whose label is null, if others have one
    respelled: Counter[tuple[str, str]] = field(default_factory=Counter)  # (label in the file, kept) -> rows
    # If the label says something about places in the text; see target_cells.TargetCells.
    joined: Callable[[Any, Any, Any], Joined | str] | None = None
    marked: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))  # mark -> ids of rows

    @property
    def readable(self) -> int:
        """The number of rows that could be read."""
        return len(self.rows)

    @property
    def count(self) -> int:
        """The number of rows in the file, readable or not."""
        return self.readable + len(self.malformed)

    def add(self, text: Any, label: Any, extras: Extras | str = NO_EXTRAS, pair: Any = NO_PAIR) -> None:
        """Append a row; `pair` is the second text, if rows are pairs.

        It is malformed if a value is not text, a number or a Boolean, or if `extras` is a reason instead of
        values.
        """
        marks: frozenset[str] = frozenset()
        if self.joined is not None:
            joined = self.joined(text, label, pair)
            if isinstance(joined, str):
                self.reject(joined)
                return
            text, label, marks = joined
        words, cell = plain(text), self.read_label(label)
        second = None if pair is NO_PAIR else plain(pair)
        if words is None or (second is None and pair is not NO_PAIR):
            what, value = ("text", text) if words is None else (SECOND, pair)
            fault = f"{what} is a {type(value).__name__}"
            fault += f" and {cell}" if isinstance(cell, str) else "; text or a number is needed"
            self.reject(fault, label)
            return
        if isinstance(cell, str):
            self.reject(cell, label)
            return
        if isinstance(extras, str):
            self.reject(extras, label)
            return
        if label is None and not cell.label:
            self.unlabelled.add(f"{self.split}:{self.count + 1}")
        self.respelled.update(cell.respelled)
        for mark in marks:
            self.marked[mark].append(f"{self.split}:{self.count + 1}")
        self.rows.append(Row(self.split, self.count + 1, words, cell.label, extras, pair=second))

    def reject(self, reason: str, label: Any = None) -> None:
        """Append a row that cannot be read; its label, if known, counts as a loss of its class."""
        id_ = f"{self.split}:{self.count + 1}"
        self.malformed[id_] = f"{self.part}: {reason}" if self.part else reason
        cell = self.read_label(label)
        if isinstance(cell, Cell) and cell.label:
            self.rejected[id_] = cell.label


def is_null(value: Any) -> bool:
    """Return whether a value is null: None, NaN (a gap in a column of numbers) or `NO_KEY`."""
    return value is None or value is NO_KEY or (isinstance(value, float) and math.isnan(value))


def plain(value: Any) -> str | None:
    """Return a value as text, or None if it is a list or another unsupported type.

    Null becomes '', true becomes 'true', 1 and 1.0 become '1' (a column with gaps contains floats).
    """
    if is_null(value):
        return ""
    match value:
        case str():
            return value
        case bytes():
            return value.decode("utf-8", errors="surrogateescape")
        case bool():
            return str(value).lower()
        case int():
            return str(value)
        case float():
            return str(int(value)) if value.is_integer() else repr(value)
        case Decimal():
            return str(int(value)) if value == value.to_integral_value() else f"{value:f}"
        case date() | time():  # a datetime too
            return str(value)
        case _:
            return None
