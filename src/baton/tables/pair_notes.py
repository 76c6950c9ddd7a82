"""Notes on pairs of texts that no check of single rows can make: exchanged pairs, texts in several splits.

Input: the rows of the clean tables. Output: sentences for the user; none if rows are not pairs.
"""

from collections.abc import Mapping

import numpy as np

from baton.tables import row_sets
from baton.tables.row_sets import Numbers, Rows
from baton.tables.text_key import key

SHOWN = 3  # rows that a note names


def notes(parts: Mapping[str, Rows]) -> list[str]:
    """Return the notes on the rows of the splits, {train, val, test}."""
    count = sum(map(len, parts.values()))
    if all(row.pair is None for rows in parts.values() for row in rows[:1]):
        return []
    texts = (key(side) for rows in parts.values() for row in rows for side in (row.text, row.pair or ""))
    sides = row_sets.numbered(texts, 2 * count).reshape(-1, 2)  # of each row, in the order of the splits
    return [note for note in (_exchanged(parts, sides), _shared(parts, sides)) if note]


def _exchanged(parts: Mapping[str, Rows], sides: Numbers) -> str:
    """Say which pairs are other pairs with the two texts exchanged."""
    both = sides[:, 0].astype(np.int64) * sides.size + sides[:, 1]
    other = sides[:, 1].astype(np.int64) * sides.size + sides[:, 0]
    pairs, first = np.unique(both, return_index=True)
    last = len(both) - 1 - np.unique(both[::-1], return_index=True)[1]
    order = np.argsort(first)
    pairs, first, last = pairs[order], first[order], last[order]  # in the order of the rows
    exchanged = (sides[first, 0] != sides[first, 1]) & np.isin(other[first], both)
    if not exchanged.any():
        return ""
    by_pair = np.argsort(pairs)
    twins = by_pair[np.searchsorted(pairs, other[first[exchanged]], sorter=by_pair)]
    shown = zip(last[exchanged][:SHOWN].tolist(), last[twins][:SHOWN].tolist(), strict=True)
    found = [f"{_id(parts, one)} ({_id(parts, twin)})" for one, twin in shown]
    return (
        f"{exchanged.sum()} pairs are other pairs with their texts exchanged: "
        f"{_some(found, int(exchanged.sum()))}; if the order means nothing, keep one of each"
    )


def _shared(parts: Mapping[str, Rows], sides: Numbers) -> str:
    """Say which test rows have a text that is also in train or val."""
    splits = np.repeat(np.arange(len(parts)), [len(rows) for rows in parts.values()])
    names = list(parts)
    there = np.zeros(sides.size, np.bool_)
    there[sides[(splits == names.index("train")) | (splits == names.index("val"))]] = True
    found = there[sides[splits == names.index("test")]].any(axis=1)
    if not found.any():
        return ""
    some = list(row_sets.ids(row_sets.at(parts["test"], np.flatnonzero(found)[:SHOWN])))
    return (
        f"{found.sum()} of {len(found)} test rows have a text that is also in a row of train or val: "
        f"{_some(some, int(found.sum()))}; figures for new texts need group_column, or files of their own"
    )


def _id(parts: Mapping[str, Rows], index: int) -> str:
    """Return the id of a row by its place in all splits, one after the other."""
    for rows in parts.values():
        if index < len(rows):
            return row_sets.one(rows, index).id
        index -= len(rows)
    raise IndexError(index)


def _some(found: list[str], count: int) -> str:
    return ", ".join(found) + (f" and {count - SHOWN} more" if count > SHOWN else "")
