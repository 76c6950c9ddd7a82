"""Rows that stay on disk, in parts: of each only its place is in memory, so a table may exceed it.

Input: the rows of raw files (`row_files`). Output: `StoredRows`, a sequence of rows as lists are: what it is
asked for is read, at most a few parts at a time.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, pairwise
from typing import Any, NamedTuple, Self, overload

import numpy as np
from numpy.typing import NDArray

from baton.tables.row_files import RowFile
from baton.tables.rows import Row

Places = NDArray[np.integer[Any]]


def kind(count: int) -> type[np.int32] | type[np.int64]:
    """Return the type of numbers below `count`: a small one if that is enough."""
    return np.int32 if count < 2**31 else np.int64


class Change(NamedTuple):
    """What happens to rows when they are read, and to which, (rows of all files,); None: to all."""

    change: Callable[[Row], Row]
    where: NDArray[np.bool_] | None = None


class StoredRows(Sequence[Row]):
    """Rows of raw files in their order, all or some of them, each as it is after some changes."""

    def __init__(
        self,
        files: tuple[RowFile, ...],
        places: Places | None = None,
        changes: tuple[Change, ...] = (),
        known: dict[str, Any] | None = None,
    ) -> None:
        """`places` are those of the rows among the rows of all files, ascending; None: all."""
        self._files, self._changes = files, changes
        self._bounds = [0, *np.cumsum([len(file) for file in files]).tolist()]
        self.places: Places = np.arange(self.total, dtype=kind(self.total)) if places is None else places
        self.known: dict[str, Any] = {} if known is None else known  # of the texts of all rows

    @property
    def total(self) -> int:
        """The number of rows of all files."""
        return int(self._bounds[-1])

    def __len__(self) -> int:
        return len(self.places)

    def __iter__(self) -> Iterator[Row]:
        return self._read(texts=True)

    def brief(self) -> Iterator[Row]:
        """Yield the rows with '' in place of their texts, which are not read."""
        return self._read(texts=False)

    def _read(self, texts: bool) -> Iterator[Row]:
        for file, (first, end) in zip(self._files, pairwise(self._bounds), strict=True):
            low, high = np.searchsorted(self.places, (first, end))
            for number, (start, stop) in enumerate(pairwise(file.starts)):
                upper = low + int(np.searchsorted(self.places[low:high], first + stop))
                own = self.places[low:upper] - (first + start)
                if len(own):
                    wanted = None if len(own) == stop - start else own
                    rows = file.rows(number, wanted, texts)
                    yield from self._changed(rows, self.places[low:upper]) if self._changes else rows
                low = upper

    def _changed(self, rows: Iterator[Row], places: Places) -> Iterator[Row]:
        where = [None if own is None else own[places].tolist() for _, own in self._changes]
        for number, row in enumerate(rows):
            for (change, _), own in zip(self._changes, where, strict=True):
                if own is None or own[number]:
                    row = change(row)  # noqa: PLW2901
            yield row

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> Self: ...
    def __getitem__(self, index: int | slice) -> "Row | StoredRows":
        if isinstance(index, slice):
            return self.at(np.arange(len(self))[index])
        return self.one(index)

    def one(self, index: int, texts: bool = True) -> Row:
        """Return one row, with '' for its text unless `texts`; its part is kept for the next one."""
        place = int(self.places[index])
        number = bisect_right(self._bounds, place) - 1
        file, own = self._files[number], place - self._bounds[number]
        part = bisect_right(file.starts, own) - 1
        rows = file.rows(part, np.array([own - file.starts[part]]), texts, keep=True)
        return next(self._changed(rows, np.array([place])))

    def at(self, indices: NDArray[Any]) -> "StoredRows":
        """Return the rows at some indices, (some,), ascending."""
        return StoredRows(self._files, self.places[indices], self._changes, self.known)

    def where(self, keep: NDArray[np.bool_]) -> "StoredRows":
        """Return the rows with a true value in `keep`, (rows,)."""
        return StoredRows(self._files, self.places[keep], self._changes, self.known)

    def changed(self, change: Callable[[Row], Row], texts: bool) -> "StoredRows":
        """Return the rows as `change` makes them; `texts`: whether it may change their texts."""
        known = None if texts else self.known
        return StoredRows(self._files, self.places, (*self._changes, Change(change)), known)

    def over(self, others: "StoredRows") -> "StoredRows":
        """Return `others`, of which these are some, with these in place of their own."""
        shared = next(
            (
                place
                for place, both in enumerate(zip(self._changes, others._changes, strict=False))
                if both[0] is not both[1]
            ),
            min(len(self._changes), len(others._changes)),
        )
        changes = list(self._changes[:shared])
        if len(others._changes) > shared or len(self._changes) > shared:
            own = np.zeros(self.total, np.bool_)
            own[self.places] = True
            for some, mask in ((others._changes[shared:], ~own), (self._changes[shared:], own)):
                changes += [Change(one, mask if where is None else where & mask) for one, where in some]
        return StoredRows(self._files, others.places, tuple(changes), self.known)


def joined(some: Sequence[StoredRows]) -> StoredRows:
    """Return the rows of several files as one sequence; none of them is changed or left out."""
    return StoredRows(tuple(chain.from_iterable(one._files for one in some)))
