"""A row of labelled text, and the rows of one raw file.

Rows are numbered from 1 in file order, without header lines and blank lines. Bytes that are not valid UTF-8
survive as lone surrogates (Python's `surrogateescape`), so that their row can be found and reported.
"""

import math
from collections import Counter
from dataclasses import dataclass, field
from datetime import date, time
from decimal import Decimal
from pathlib import Path
from typing import Any

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


@dataclass(slots=True)
class Row:
    """One labelled text of a raw file; a missing text or label is empty, the label is `labels.normal`.

    `part` is the split that the row belongs to: that of its file, unless the file is cut by time.
    """

    split: str
    number: int
    text: str
    label: str
    extras: Extras = NO_EXTRAS
    part: str = ""

    def __post_init__(self) -> None:
        self.part = self.part or self.split

    @property
    def id(self) -> str:
        """The raw file's split and the row number, such as `train:17`."""
        return f"{self.split}:{self.number}"


@dataclass
class RawTable:
    """The rows of one raw file, and those that could not be read (id -> reason)."""

    split: str
    path: Path
    rows: list[Row] = field(default_factory=list)
    malformed: dict[str, str] = field(default_factory=dict)
    rejected: dict[str, str] = field(default_factory=dict)  # malformed rows with a known label: id -> label
    blank_lines: int = 0
    remarks: list[str] = field(default_factory=list)  # notes on the file for the user
    guessed: str = ""  # the encoding, if it is a guess
    unlabelled: set[str] = field(default_factory=set)  # ids of rows whose label is null, if others have one
    respelled: Counter[tuple[str, str]] = field(default_factory=Counter)  # (label in the file, kept) -> rows

    @property
    def count(self) -> int:
        """The number of rows in the file, readable or not."""
        return len(self.rows) + len(self.malformed)

    def add(self, text: Any, label: Any, extras: Extras | str = NO_EXTRAS) -> None:
        """Append a row.

        It is malformed if a value is not text, a number or a Boolean, or if `extras` is a reason instead of
        values.
        """
        values = {"text": (text, plain(text)), "label": (label, plain(label))}
        wrong = [
            f"{name} is a {type(value).__name__}" for name, (value, read) in values.items() if read is None
        ]
        if wrong:
            needed = "one label a row" if wrong[-1].startswith("label") else "text or a number"
            self.reject(f"{' and '.join(wrong)}; {needed} is needed", label)
            return
        if isinstance(extras, str):
            self.reject(extras, label)
            return
        spelled = values["label"][1] or ""
        kept = labels.normal(spelled)
        if label is None:
            self.unlabelled.add(f"{self.split}:{self.count + 1}")
        if kept != spelled:
            self.respelled[spelled, kept] += 1
        self.rows.append(Row(self.split, self.count + 1, values["text"][1] or "", kept, extras))

    def reject(self, reason: str, label: Any = None) -> None:
        """Append a row that cannot be read; its label, if known, counts as a loss of its class."""
        id_ = f"{self.split}:{self.count + 1}"
        self.malformed[id_] = reason
        if known := labels.normal(plain(label) or ""):
            self.rejected[id_] = known


def plain(value: Any) -> str | None:
    """Return a value as text, or None if it is a list or another unsupported type.

    Null becomes '', true becomes 'true', 1 and 1.0 become '1' (a column with gaps contains floats).
    """
    match value:
        case None:
            return ""
        case str():
            return value
        case bytes():
            return value.decode("utf-8", errors="surrogateescape")
        case bool():
            return str(value).lower()
        case int():
            return str(value)
        case float():
            return "" if math.isnan(value) else str(int(value)) if value.is_integer() else repr(value)
        case Decimal():
            return str(int(value)) if value == value.to_integral_value() else f"{value:f}"
        case date() | time():  # a datetime too
            return str(value)
        case _:
            return None
