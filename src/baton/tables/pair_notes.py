"""Notes on pairs of texts that no check of single rows can make: exchanged pairs, texts in several splits.

Input: the rows of the clean tables. Output: sentences for the user; none if rows are not pairs.
"""

from collections.abc import Mapping

from baton.tables.checks import key
from baton.tables.rows import Row

SHOWN = 3  # rows that a note names


def notes(parts: Mapping[str, list[Row]]) -> list[str]:
    """Return the notes on the rows of the splits, {train, val, test}."""
    return [note for note in (_exchanged(parts), _shared(parts)) if note]


def _exchanged(parts: Mapping[str, list[Row]]) -> str:
    """Say which pairs are other pairs with the two texts exchanged."""
    rows = {both: row for some in parts.values() for row in some if (both := _keys(row))}
    found = [
        f"{row.id} ({rows[second, first].id})"
        for (first, second), row in rows.items()
        if first != second and (second, first) in rows
    ]
    if not found:
        return ""
    return (
        f"{len(found)} pairs are other pairs with their texts exchanged: {_some(found)}; "
        "if the order means nothing, keep one of each"
    )


def _shared(parts: Mapping[str, list[Row]]) -> str:
    """Say which test rows have a text that is also in train or val."""
    known = {text for split in ("train", "val") for row in parts[split] for text in _keys(row)}
    found = [row.id for row in parts["test"] if not known.isdisjoint(_keys(row))]
    if not found:
        return ""
    return (
        f"{len(found)} of {len(parts['test'])} test rows have a text that is also in a row of train or val: "
        f"{_some(found)}; figures for new texts need group_column, or files of their own"
    )


def _keys(row: Row) -> tuple[str, ...]:
    return () if row.pair is None else (key(row.text), key(row.pair))


def _some(found: list[str]) -> str:
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return ", ".join(found[:SHOWN]) + more
