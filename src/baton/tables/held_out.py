"""Texts on which the main task is measured: none of the tasks that share its encoder may train on them.

Input: the main task's clean tables -> the texts of val, test and novel classes, in the form that the leakage
check compares.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from baton.contracts import text_pairs
from baton.errors import DataError
from baton.tables import row_sets
from baton.tables.row_sets import Rows
from baton.tables.rows import Row
from baton.tables.text_key import key


@dataclass(frozen=True)
class HeldOut:
    """The texts of the main task's val and test; of pairs also either text alone."""

    texts: frozenset[str]
    pairs: bool

    def has(self, row: Row) -> bool:
        """Return whether a row has one of these texts; a pair is compared as a whole with pairs."""
        alike = (row.pair is not None) == self.pairs
        return any(key(text) in self.texts for text in ([row.whole] if alike else row.sides.values()))


def read(clean: Path) -> HeldOut:
    """Return the texts of val, test and novel classes of the clean tables in a folder."""
    import pyarrow.parquet as pq

    found = set[str]()
    for path in [clean / "val.parquet", clean / "test.parquet", *sorted(clean.glob("novel_*.parquet"))]:
        sides = [*text_pairs.sides(pq.read_table(path, columns=text_pairs.columns(path)))]
        for texts in [text_pairs.wholes(*sides), *(sides if len(sides) > 1 else [])]:
            found |= {*map(key, texts)}
    return HeldOut(frozenset(found), len(sides) > 1)


def drop(parts: dict[str, Rows], held_out: HeldOut) -> list[str]:
    """Drop the rows of train with a text that is held out; return a note on them.

    Raises:
        DataError: No row is left.
    """
    rows = parts["train"]
    kept = np.fromiter((not held_out.has(row) for row in rows), np.bool_, len(rows))
    parts["train"] = row_sets.where(rows, kept)
    dropped = len(rows) - len(parts["train"])
    if not parts["train"]:
        raise DataError(
            "no row is left for train",
            got=f"{dropped:,} rows, each with a text of the main task's val or test",
            expected="rows with other texts",
            hint="give this task other rows, or take it out of tasks",
        )
    what = f"{dropped:,} of {len(rows):,} rows of train have a text of the main task's val or test"
    return [f"{what}: they are left out"] if dropped else []
