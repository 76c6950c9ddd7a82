"""The clean table of rows without labels as it is written, row by row, and what became of its rows.

Input: rows in portions. Output: `unlabelled.parquet` (id string, text string, text_pair string if rows are
pairs). No row has a text that is in train, val or test, or in an earlier row, all compared as `text_key.key`:
of the rows only digests stay in memory.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from baton.contracts import text_pairs
from baton.tables import text_key
from baton.tables.clean_tables import ROW_GROUP
from baton.tables.rows import Row

DIGEST_BYTES = 8  # two of a hundred million texts collide with a probability of 3e-4
SHOWN = 20  # rows of each kind that report.json names
REPEATED = "duplicate"


@dataclass
class Tally:
    """What became of the rows of one origin."""

    rows: int = 0
    kept: int = 0
    found: Counter[str] = field(default_factory=Counter)  # check -> rows
    dropped: Counter[str] = field(default_factory=Counter)  # check, or `in SPLIT` -> rows
    first: dict[str, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))  # id -> reason

    def note(self, check: str, reasons: Mapping[str, str], dropped: int) -> None:
        """Count the rows in which a check found something, and keep the first of them."""
        self.found[check] += len(reasons)
        self.dropped[check] += dropped
        own = self.first[check]
        own |= dict([*reasons.items()][: SHOWN - len(own)])

    def described(self) -> dict[str, Any]:
        """Return the figures for report.json."""
        found = {check: count for check, count in self.found.items() if count}
        return {
            "rows": self.rows,
            "kept": self.kept,
            "found": found,
            "dropped": {check: count for check, count in self.dropped.items() if count},
            "first": {check: self.first[check] for check in found},
        }


class Writer:
    """Appends rows whose text is new; the file exists only if there are any. A context manager."""

    def __init__(self, path: Path, parts: Mapping[str, Iterable[Row]], pairs: bool) -> None:
        """Prepare to write `path`; rows that are in `parts`, split -> rows, are none to write."""
        self._path, self._pairs = path, pairs
        self._file: Any = None
        self._parts, self._known = parts, dict[str, set[bytes]]()
        self._seen: set[bytes] = set()
        self._waiting: list[Row] = []
        self.rows = 0

    def add(self, rows: Iterable[Row], tally: Tally) -> None:
        """Append the rows with new texts."""
        repeats: dict[str, dict[str, str]] = defaultdict(dict)
        self._known = self._known or {
            split: {digest(row) for row in own} for split, own in self._parts.items()
        }
        for row in rows:
            own = digest(row)
            split = next((split for split, known in self._known.items() if own in known), None)
            if split is not None:
                repeats[f"in {split}"][row.id] = f"its text is in {split}"
            elif own in self._seen:
                repeats[REPEATED][row.id] = "its text is in an earlier row without a label"
            else:
                self._seen.add(own)
                self._waiting.append(row)
                tally.kept += 1
        for kind, reasons in repeats.items():
            tally.note(kind, reasons, len(reasons))
        while len(self._waiting) >= ROW_GROUP:
            self._write(self._waiting[:ROW_GROUP])
            del self._waiting[:ROW_GROUP]

    def _write(self, rows: Sequence[Row]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        columns: dict[str, list[Any]] = {"id": [row.id for row in rows], "text": [row.text for row in rows]}
        columns |= {text_pairs.COLUMN: [row.pair for row in rows]} if self._pairs else {}
        table = pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})
        if self._file is None:
            self._file = pq.ParquetWriter(self._path, table.schema)
        self._file.write_table(table)
        self.rows += len(rows)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        if self._waiting and error is None:
            self._write(self._waiting)
        if self._file is not None:
            self._file.close()


def digest(row: Row) -> bytes:
    """Return a digest of a row's text, or of both its texts, as they are compared."""
    return hashlib.blake2b(text_key.key(row.whole).encode(), digest_size=DIGEST_BYTES).digest()
