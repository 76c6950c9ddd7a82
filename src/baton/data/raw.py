"""A row of labelled text, and the rows of one raw file.

Rows are numbered from 1 in file order; header lines and blank lines are no rows. Bytes that are no UTF-8 survive as lone surrogates
(Python's `surrogateescape`), so that the row that holds them can be found and named.
"""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(slots=True)
class Row:
    """One labelled text of a raw file; a missing text or label is empty."""

    split: str
    number: int
    text: str
    label: str

    @property
    def id(self) -> str:
        """`train:17`: the raw file's split and the row number."""
        return f"{self.split}:{self.number}"


@dataclass
class RawTable:
    """The rows of one raw file, and what could not be read as a row (id -> reason)."""

    split: str
    path: Path
    rows: list[Row] = field(default_factory=list)
    malformed: dict[str, str] = field(default_factory=dict)
    blank_lines: int = 0

    @property
    def count(self) -> int:
        """All rows of the file, readable or not."""
        return len(self.rows) + len(self.malformed)

    def add(self, text: Any, label: Any) -> None:
        """Append a row; a value that is no text, number or truth value makes it malformed."""
        values = plain(text), plain(label)
        wrong = [name for name, value in zip(("text", "label"), values, strict=True) if value is None]
        if wrong:
            self.reject(f"{' and '.join(wrong)} is neither text nor number")
        else:
            self.rows.append(Row(self.split, self.count + 1, values[0] or "", values[1] or ""))

    def reject(self, reason: str) -> None:
        """Append a row that cannot be read."""
        self.malformed[f"{self.split}:{self.count + 1}"] = reason


def plain(value: Any) -> str | None:
    """Text of a value: '' for null, 'true' for true, '1' for 1 and 1.0 (a column with gaps holds floats); None for anything else."""
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
        case _:
            return None
