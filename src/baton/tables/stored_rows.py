"""Rows that stay on disk, in parts: of each only its place is in memory, so a table may exceed it.

Input: the rows of raw files, one after the other (`Spool`). Output: `StoredRows`, a sequence of rows as
lists are: what it is asked for is read, at most a few parts at a time. For each raw file there is one Arrow
file of texts and one of all else, so that whoever needs no texts reads none.
"""

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, NamedTuple, Self, overload

import numpy as np
from numpy.typing import NDArray

from baton.tables.rows import NO_EXTRAS, Extras, Row

PART = 4096  # rows that are read and written at a time
LETTERS = 2**23  # of the texts of a part: it ends when it has as many, whatever its rows
OPEN = 8  # parts of a file that random access keeps
Places = NDArray[np.integer[Any]]


def kind(count: int) -> type[np.int32] | type[np.int64]:
    """Return the type of numbers below `count`: a small one if that is enough."""
    return np.int32 if count < 2**31 else np.int64


class Change(NamedTuple):
    """What happens to rows when they are read, and to which, (rows of all files,); None: to all."""

    change: Callable[[Row], Row]
    where: NDArray[np.bool_] | None = None


class Spool:
    """Writes the rows of one raw file, in the order in which they come."""

    def __init__(self, folder: Path, split: str) -> None:
        """Two files named after the split come into `folder`, which exists."""
        self._split = split
        self._paths = [folder / f"{split}.{kind}.arrow" for kind in ("texts", "others")]
        self._files: list[Any] = []
        self._waiting: list[Row] = []
        self._letters = 0
        self._starts = [0]

    def append(self, row: Row) -> None:
        """Append a row."""
        self._waiting.append(row)
        self._letters += len(row.text) + len(row.pair or "")
        if len(self._waiting) >= PART or self._letters >= LETTERS:
            self._flush()

    def __len__(self) -> int:
        return self._starts[-1] + len(self._waiting)

    def _flush(self) -> None:
        import pyarrow as pa

        rows, self._waiting, self._letters = self._waiting, [], 0
        batches = [pa.record_batch(part) for part in _columns(rows)]
        if not self._files:
            self._files = [
                pa.ipc.new_file(str(path), batch.schema)
                for path, batch in zip(self._paths, batches, strict=True)
            ]
        for file, batch in zip(self._files, batches, strict=True):
            file.write_batch(batch)
        self._starts.append(self._starts[-1] + len(rows))

    def stored(self) -> "StoredRows":
        """End the files, and return their rows."""
        if self._waiting or not self._files:
            self._flush()
        for file in self._files:
            file.close()
        return StoredRows((_File(self._split, self._paths, self._starts),))


def _columns(rows: list[Row]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the columns of the two files; texts as bytes, which lone surrogates survive."""
    import pyarrow as pa

    def binary(values: Iterator[str | None]) -> Any:
        return pa.array([None if one is None else _bytes(one) for one in values], pa.large_binary())

    texts = {"text": binary(row.text for row in rows), "pair": binary(row.pair for row in rows)}
    kept = [[_bytes(one) for one in row.extras.kept] for row in rows]
    return texts, {
        "number": pa.array([row.number for row in rows], pa.int64()),
        "label": binary(row.label for row in rows),
        "plain": pa.array([row.extras == NO_EXTRAS for row in rows], pa.bool_()),
        "group": binary(row.extras.group for row in rows),
        "time": pa.array([row.extras.time for row in rows], pa.float64()),
        "weight": pa.array([row.extras.weight for row in rows], pa.float64()),
        "kept": pa.array(kept, pa.list_(pa.large_binary())),
        "dated": pa.array([row.extras.dated for row in rows], pa.bool_()),
    }


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _text(found: bytes) -> str:
    return found.decode("utf-8", "surrogatepass")


class _File:
    """Reads the rows of one raw file."""

    def __init__(self, split: str, paths: list[Path], starts: list[int]) -> None:
        """`paths` are the files of texts and of all else; `starts` those of the parts, and the end."""
        self._split, self._paths, self.starts = split, paths, starts
        self._readers: dict[bool, Any] = {}
        self._kept: dict[bool, OrderedDict[int, Any]] = {True: OrderedDict(), False: OrderedDict()}

    def __len__(self) -> int:
        return self.starts[-1]

    def rows(self, number: int, wanted: Places | None, texts: bool, keep: bool = False) -> Iterator[Row]:
        """Yield the rows of part `number` at the places `wanted` in it, all if None; without `texts`: ''.

        With `keep` the part is kept for the next call.
        """
        parts = [self._part(number, kind, keep) for kind in ((False, True) if texts else (False,))]
        if wanted is not None:
            parts = [part.take(wanted) for part in parts]
        columns = {name: part[name] for part in parts for name in part.schema.names}
        labels, numbers = map(_text, columns["label"].to_pylist()), columns["number"].to_pylist()
        extras = _extras(columns)
        if not texts:
            for own, label, more in zip(numbers, labels, extras, strict=True):
                yield Row(self._split, own, "", label, more)
            return
        pairs = columns["pair"].to_pylist() if columns["pair"].null_count < len(numbers) else None
        found = map(_text, columns["text"].to_pylist())
        for place, (own, label, more, text) in enumerate(zip(numbers, labels, extras, found, strict=True)):
            pair = None if pairs is None or pairs[place] is None else _text(pairs[place])
            yield Row(self._split, own, text, label, more, pair=pair)

    def _part(self, number: int, texts: bool, keep: bool) -> Any:
        import pyarrow as pa

        kept = self._kept[texts]
        if number in kept:
            kept.move_to_end(number)
            return kept[number]
        if texts not in self._readers:
            self._readers[texts] = pa.ipc.open_file(pa.OSFile(str(self._paths[not texts])))
        part = self._readers[texts].get_batch(number)
        if keep:
            kept[number] = part
            if len(kept) > OPEN:
                kept.popitem(last=False)
        return part


def _extras(columns: dict[str, Any]) -> Iterator[Extras]:
    plain = columns["plain"]
    if plain.true_count == len(plain):
        yield from (NO_EXTRAS for _ in range(len(plain)))
        return
    names = ("group", "time", "weight", "kept", "dated")
    for group, time, weight, kept, dated in zip(*(columns[name].to_pylist() for name in names), strict=True):
        yield Extras(_text(group), time, weight, tuple(map(_text, kept)), dated)


class StoredRows(Sequence[Row]):
    """Rows of raw files in their order, all or some of them, each as it is after some changes."""

    def __init__(
        self,
        files: tuple[_File, ...],
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
