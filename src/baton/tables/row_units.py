"""Units: sets of rows that are never separated when a table is cut, kept as a few numbers for each row.

Rows are joined if they have the same text, nearly the same text or the same group, directly or through
others. A unit is called by its first row: its group, or its text as it is compared. By a digest of that name
units are drawn; it is read from the table when it is needed, and does not stay in memory.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from baton.tables import near_duplicates, row_sets, text_numbers
from baton.tables.row_sets import Numbers, Rows
from baton.tables.rows import Row
from baton.tables.stored_rows import kind
from baton.tables.text_key import key


@dataclass
class Unit:
    """Rows that stay together, in file order. The stratum is that of the first row."""

    name: str
    stratum: str
    rows: Rows

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True, eq=False)
class Table:
    """The rows of one table, in file order, and what joins them."""

    rows: Rows
    unit: Numbers  # the index of the first row of each row's unit, (rows,)
    strata: list[str]
    # Of the rows unlike any before them: index, code of the stratum, and how many such rows of it precede it.
    firsts: tuple[Numbers, Numbers, Numbers]
    lasting: list[str]  # the strata of `firsts`

    def orders(self, start: str, indices: Numbers) -> NDArray[np.uint64]:
        """Return ranks in a drawing order, from 0 to 2^64, of the names of some rows, (some,).

        `start` comes before each name; the ranks are the first eight bytes of its SHA-256. The indices need
        not be in order.
        """
        if len(indices) > 1 and not (indices[1:] > indices[:-1]).all():
            there, place = np.unique(indices, return_inverse=True)
            return self.orders(start, there)[place.reshape(-1)]
        found = np.empty(len(indices), np.uint64)
        for number, row in enumerate(row_sets.at(self.rows, indices)):
            digest = hashlib.sha256(f"{start}\0{name(row)}".encode()).digest()
            found[number] = int.from_bytes(digest[:8], "big")
        return found


def name(row: Row) -> str:
    """Return what a unit is called whose first row this is."""
    return f"\0{row.extras.group}" if row.extras.group else key(row.whole)


@dataclass(frozen=True, eq=False)
class Units(Sequence[Unit]):
    """Some units of a table, in some order, each with all or some of its rows."""

    table: Table
    roots: Numbers  # the first row of each unit, (units,)
    codes: NDArray[np.int32]  # its stratum, (units,)
    members: Numbers  # their rows, ascending, (rows,)

    def __len__(self) -> int:
        return len(self.roots)

    @property
    def size(self) -> int:
        """The number of rows."""
        return len(self.members)

    @property
    def sizes(self) -> Numbers:
        """The number of rows of each unit, (units,)."""
        return np.bincount(self.table.unit[self.members], minlength=len(self.table.unit))[self.roots]

    @property
    def strata(self) -> list[str]:
        """The strata that occur, sorted."""
        return sorted(self.table.strata[code] for code in np.unique(self.codes).tolist())

    @property
    def rows(self) -> Rows:
        """The rows, in file order."""
        return row_sets.at(self.table.rows, self.members)

    def code(self, stratum: str) -> int:
        """Return the code of a stratum that occurs."""
        return self.table.strata.index(stratum)

    def orders(self, start: str) -> NDArray[np.uint64]:
        """Return the rank of each unit in a drawing order, see `Table.orders`."""
        return self.table.orders(start, self.roots)

    def take(self, chosen: NDArray[Any]) -> "Units":
        """Return the units that `chosen` says: by their places, or by true values."""
        roots = self.roots[chosen]
        there = np.zeros(len(self.table.unit), np.bool_)
        there[roots] = True
        members = self.members[there[self.table.unit[self.members]]]
        return replace(self, roots=roots, codes=self.codes[chosen], members=members)

    def of_strata(self, some: set[str], inside: bool = True) -> "Units":
        """Return the units of these strata, or of the others."""
        wanted = np.array([stratum in some for stratum in self.table.strata] or [False], np.bool_)
        return self.take(wanted[self.codes] == inside)

    def with_rows(self, kept: NDArray[np.bool_]) -> "Units":
        """Return the units with the rows that `kept`, (rows of `members`,), says; none is empty.

        The stratum is that of the first row that is left, by its label.
        """
        members = self.members[kept]
        units = self.table.unit[members]
        first = row_sets.earliest(units, len(self.table.unit))
        roots = self.roots[first[self.roots] >= 0]
        labels = (row.label for row in row_sets.brief(row_sets.at(self.table.rows, members)))
        codes, strata = row_sets.coded(labels, len(members))
        table = replace(self.table, strata=strata)
        return Units(table, roots, codes[first[roots]], members)

    def __add__(self, other: "Units") -> "Units":
        if not len(other):
            return self
        assert self.table.unit is other.table.unit
        assert self.table.strata == other.table.strata
        return Units(
            self.table,
            np.concatenate([self.roots, other.roots]),
            np.concatenate([self.codes, other.codes]),
            np.sort(np.concatenate([self.members, other.members])),
        )

    @overload
    def __getitem__(self, index: int) -> Unit: ...
    @overload
    def __getitem__(self, index: slice) -> "Units": ...
    def __getitem__(self, index: int | slice) -> "Unit | Units":
        if isinstance(index, slice):
            return self.take(np.arange(len(self))[index])
        root = self.roots[index]
        members = self.members[self.table.unit[self.members] == root]
        called = name(self.table.rows[int(root)])
        return Unit(called, self.table.strata[self.codes[index]], row_sets.at(self.table.rows, members))

    def __iter__(self) -> Iterator[Unit]:
        return (self[index] for index in range(len(self)))


def of(
    rows: Rows,
    alike: near_duplicates.Near | None = None,
    left: NDArray[np.bool_] | None = None,
    strata: Iterable[str] | None = None,
    lasting: Iterable[str] | None = None,
) -> Units:
    """Join rows that have the same text (see `text_key.key`), nearly the same text, or the same group.

    Args:
        rows: The rows of one table, in file order.
        alike: Pairs of near-duplicates, see `text_numbers.of_parts`.
        left: Which rows to keep in the units, (rows,); the others only count in joining and numbering. None
            keeps all.
        strata: The stratum of each row; None: its label.
        lasting: The strata in which rows are numbered for `splits.cut_for_good`, which must not depend on
            rows appended later; None: `strata`.

    Returns:
        The units, ordered by their first rows; none is empty.
    """
    early, late = _linked(rows, alike)
    unit = joined(len(rows), early, late)
    unlike = np.ones(len(rows), np.bool_)
    unlike[late] = False
    firsts = np.flatnonzero(unlike).astype(unit.dtype)
    codes, known = row_sets.coded(_labels(rows) if strata is None else strata, len(rows))
    own, lasts = (codes, known) if lasting is None else row_sets.coded(lasting, len(rows))
    numbers = row_sets.counted(own[firsts])
    table = Table(rows, unit, known, (firsts, own[firsts], numbers), lasts)
    members = (
        np.arange(len(rows), dtype=unit.dtype) if left is None else np.flatnonzero(left).astype(unit.dtype)
    )
    first = row_sets.earliest(unit[members], len(rows))  # of each unit, the first row that is left
    roots = np.flatnonzero(first >= 0).astype(unit.dtype)
    return Units(table, roots, codes[members[first[roots]]], members)


def unit_of(rows: Rows, alike: near_duplicates.Near) -> Numbers:
    """Return the index of the first row of each row's unit, (rows,)."""
    return joined(len(rows), *_linked(rows, alike))


def joined(count: int, early: Numbers, late: Numbers) -> Numbers:
    """Return the smallest index that each of `count` is joined to, directly or through others.

    `early` and `late`, (pairs,), are the indices that pairs join.
    """
    if not len(late):
        return np.arange(count, dtype=kind(count))
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    pairs = coo_array((np.ones(len(late), np.int8), (early, late)), shape=(count, count))
    _, groups = connected_components(pairs, directed=False)
    return row_sets.earliest(groups, count)[groups]


def _linked(rows: Rows, alike: near_duplicates.Near | None) -> tuple[Numbers, Numbers]:
    """Return pairs of indices that stay together: an earlier one, and the one that it is joined to."""
    numbers, alike, size = text_numbers.of(rows, alike)
    first = row_sets.earliest(numbers, size)
    same = first[numbers]
    late = [np.flatnonzero(same != np.arange(len(rows)))]
    early = [same[late[0]]]
    near = [
        (int(first[other]), place)
        for place in np.flatnonzero(text_numbers.flags(alike, size)[numbers]).tolist()
        for other in alike[int(numbers[place])]
        if 0 <= other < size and 0 <= first[other] < place
    ]
    pairs = np.array(near, np.int64).reshape(-1, 2)
    grouped = np.flatnonzero(
        np.fromiter((bool(row.extras.group) for row in row_sets.brief(rows)), np.bool_, len(rows))
    )
    groups = (row.extras.group for row in row_sets.brief(row_sets.at(rows, grouped)))
    own = row_sets.numbered(groups, len(grouped))
    repeats = own != np.arange(len(grouped))
    early += [pairs[:, 0], grouped[own[repeats]]]
    late += [pairs[:, 1], grouped[repeats]]
    return np.concatenate(early), np.concatenate(late)


def _labels(rows: Rows) -> Iterator[str]:
    return (row.label for row in row_sets.brief(rows))
