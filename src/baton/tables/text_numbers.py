"""A number for the text of each row, which equal texts share, so that no text stays in memory.

"Equal" is as `text_key.key` compares texts. A number is the place of the first row with the text. For rows on
disk they are made once, for all rows that have a readable text.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, overload

import numpy as np

from baton.tables import near_duplicates, row_sets
from baton.tables.near_duplicates import Near
from baton.tables.row_sets import Numbers, Rows
from baton.tables.stored_rows import StoredRows, kind
from baton.tables.text_key import key

KNOWN = "texts"  # what is kept with rows on disk


class Numbered(NamedTuple):
    """Rows of several parts by the numbers of their texts, and near-duplicates by the same numbers."""

    parts: list[Numbers]  # of each part, (rows,)
    alike: Near  # it may have negative numbers: texts that no row has
    size: int  # numbers of rows are below it


def of_parts(parts: Sequence[Rows], alike: Near | None = None) -> Numbered:
    """Return the numbers of rows; `alike` is by text for lists of rows, by number for those on disk."""
    alike = alike or {}
    if any(isinstance(rows, StoredRows) for rows in parts):
        found = [_stored(rows) if isinstance(rows, StoredRows) else np.empty(0, np.int32) for rows in parts]
        return Numbered(found, alike, max(rows.total for rows in parts if isinstance(rows, StoredRows)))
    known: dict[str, int] = {}
    found = [
        np.array([known.setdefault(key(row.whole), len(known)) for row in rows], np.int32) for rows in parts
    ]
    names = dict.fromkeys([*alike, *(other for others in alike.values() for other in others)])
    place = {name: -1 - number for number, name in enumerate(names)} | known
    numbers = {
        place[name]: {place[other]: share for other, share in others.items()}
        for name, others in alike.items()
    }
    return Numbered(found, numbers, len(known))


def of(rows: Rows, alike: Near | None = None) -> tuple[Numbers, Near, int]:
    """Return the numbers of the rows of one part, (rows,), near-duplicates by them, and their bound."""
    found = of_parts([rows], alike)
    return found.parts[0], found.alike, found.size


def _stored(rows: StoredRows) -> Numbers:
    if KNOWN not in rows.known:
        found = row_sets.numbered((key(row.whole) for row in rows), len(rows))
        made = np.full(rows.total, -1, kind(rows.total))
        made[rows.places] = rows.places[found]
        rows.known[KNOWN] = made
    every: Numbers = rows.known[KNOWN]
    numbers = every[rows.places]
    assert not len(numbers) or numbers.min() >= 0, "rows without a number: they were made for fewer rows"
    return numbers


def near(rows: StoredRows, folder: Path | None) -> Near:
    """Find near-duplicates among rows on disk, by the numbers of their texts.

    Args:
        rows: Those with readable texts.
        folder: Where temporary files are made.
    """
    numbers = _stored(rows)
    different = rows.where(numbers == rows.places)
    found = near_duplicates.of_places(_Keys(different), folder)
    places = different.places
    return {
        int(places[one]): {int(places[other]): share for other, share in others.items()}
        for one, others in found.items()
    }


class _Keys(Sequence[str]):
    """The texts of rows as they are compared."""

    def __init__(self, rows: StoredRows) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[str]:
        return (key(row.whole) for row in self._rows)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> "Sequence[str]": ...
    def __getitem__(self, index: int | slice) -> "str | Sequence[str]":
        if isinstance(index, slice):
            return _Keys(self._rows[index])
        return key(self._rows.one(index).whole)


def flags(numbers: Mapping[int, Any], size: int) -> Any:
    """Return which of the numbers below `size` are keys of `numbers`, (size,)."""
    found = np.zeros(size, np.bool_)
    some = np.fromiter((one for one in numbers if one >= 0), np.int64)
    found[some] = True
    return found
