"""What checks and cuts ask of rows, whether these are a list or stay on disk (`stored_rows`).

Rows are compared by digests of 16 bytes, and then by numbers: equal ones get the place of the first of them.
Nothing here needs more than a few bytes of memory for each row.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baton.tables.rows import Row
from baton.tables.stored_rows import StoredRows, kind

Rows = Sequence[Row]
Numbers = NDArray[np.integer[Any]]
AT_ONCE = 65_536  # names hashed before their digests are put away
SORTED = 2**20  # digests sorted at a time


def brief(rows: Rows) -> Iterable[Row]:
    """Return the rows for whoever does not read their texts; those on disk come without."""
    return rows.brief() if isinstance(rows, StoredRows) else rows


def one(rows: Rows, index: int) -> Row:
    """Return one row, for whoever does not read its text."""
    return rows.one(index, texts=False) if isinstance(rows, StoredRows) else rows[index]


def where(rows: Rows, keep: NDArray[np.bool_]) -> Rows:
    """Return the rows with a true value in `keep`, (rows,)."""
    if isinstance(rows, StoredRows):
        return rows.where(keep)
    return [row for row, kept in zip(rows, keep.tolist(), strict=True) if kept]


def at(rows: Rows, indices: NDArray[Any]) -> Rows:
    """Return the rows at ascending indices, (some,)."""
    return rows.at(indices) if isinstance(rows, StoredRows) else [rows[index] for index in indices.tolist()]


def having(rows: Rows, wanted: Callable[[Row], bool]) -> Rows:
    """Return the rows that are `wanted`, which is decided without their texts."""
    return where(rows, np.fromiter(map(wanted, brief(rows)), np.bool_, len(rows)))


def changed(rows: Rows, change: Callable[[Row], Row], texts: bool = False) -> Rows:
    """Return the rows as `change` makes them; `texts`: whether it may change their texts."""
    return rows.changed(change, texts) if isinstance(rows, StoredRows) else [change(row) for row in rows]


def over(some: Rows, whole: Rows) -> Rows:
    """Return `whole` with the rows of `some`, which are among them in the same order, in place of its own."""
    if isinstance(some, StoredRows) and isinstance(whole, StoredRows):
        return some.over(whole)
    own = {row.id: row for row in some}
    return [own.get(row.id, row) for row in whole]


def places_in(some: Rows, whole: Rows) -> Numbers:
    """Return the index in `whole` of each row of `some`, (some,); they are among them in the same order."""
    if isinstance(some, StoredRows) and isinstance(whole, StoredRows):
        return np.searchsorted(whole.places, some.places)
    place = {row.id: index for index, row in enumerate(whole)}
    return np.array([place[row.id] for row in some], np.int64)


def ids(rows: Rows) -> Iterator[str]:
    """Yield the ids."""
    return (row.id for row in brief(rows))


# ---- numbers for what is equal -----------------------------------------------------------------------------


def digests(names: Iterable[str], count: int) -> NDArray[np.uint64]:
    """Return 16 bytes for each of `count` names, (count, 2); lone surrogates are allowed."""
    found, names = np.empty((count, 2), np.uint64), iter(names)
    for start in range(0, count, AT_ONCE):
        some = [
            hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16).digest()
            for name in islice(names, AT_ONCE)
        ]
        found[start : start + len(some)] = np.frombuffer(b"".join(some), np.uint64).reshape(-1, 2)
    return found


def firsts(values: NDArray[np.uint64]) -> Numbers:
    """Return for each digest, of (count, 2), the index of the first that equals it, (count,).

    They are sorted in slices of the range of their values, so that sorting takes little memory.
    """
    count = len(values)
    found: Numbers = np.arange(count, dtype=kind(count))
    slices = -(-count // SORTED)
    bounds = [number * (2**64 // max(slices, 1)) for number in range(slices)] + [2**64]
    for low, high in pairwise(bounds):
        inside = values[:, 0] >= np.uint64(low)
        if high < 2**64:
            inside &= values[:, 0] < np.uint64(high)
        some = np.flatnonzero(inside)
        own = values[some]
        order = np.lexsort((own[:, 1], own[:, 0]))  # stable: the first of equal ones stays first
        own = own[order]
        new = np.concatenate([[True], (own[1:] != own[:-1]).any(axis=1)])[: len(own)]
        found[some[order]] = some[order[new]][np.cumsum(new) - 1]
    return found


def numbered(names: Iterable[str], count: int) -> Numbers:
    """Return for each of `count` names the index of the first that equals it, (count,)."""
    return firsts(digests(names, count))


def earliest(numbers: Numbers, size: int, chosen: NDArray[np.bool_] | None = None) -> Numbers:
    """Return the index of the first of equal numbers, by number, (size,); -1 where there is none.

    Args:
        numbers: From 0, below `size`.
        size: Of the result.
        chosen: Which indices count, (numbers,); None: all.
    """
    places = np.arange(len(numbers)) if chosen is None else np.flatnonzero(chosen)
    found: Numbers = np.full(size, -1, kind(len(numbers)))
    found[numbers[places][::-1]] = places[::-1]  # of equal numbers the last assignment stays
    return found


def counted(codes: Numbers) -> Numbers:
    """Return for each code how many equal ones precede it, (codes,)."""
    order = np.argsort(codes, kind="stable")
    ordered = codes[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]])[: len(ordered)])
    found: Numbers = np.empty(len(codes), kind(len(codes)))
    found[order] = np.arange(len(codes)) - np.repeat(starts, np.diff([*starts, len(codes)]))
    return found


def coded(names: Iterable[str], count: int) -> tuple[NDArray[np.int32], list[str]]:
    """Return a code for each of `count` names, (count,), and the names in order of their first occurrence."""
    known: dict[str, int] = {}
    codes = np.fromiter((known.setdefault(name, len(known)) for name in names), np.int32, count)
    return codes, list(known)
