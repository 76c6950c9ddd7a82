"""The rows of one raw file, on disk: written one after the other, and read in parts.

There is one Arrow file of texts and one of all else, so that whoever needs no texts reads none.
"""

from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baton import storage
from baton.tables.rows import NO_EXTRAS, Extras, Row

PART = 4096  # rows that are read and written at a time
LETTERS = 2**23  # of texts, labels and kept columns of a part: it ends when it has as many
OPEN = 8  # parts of a file that random access keeps


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
        self._letters += len(row.text) + len(row.pair or "") + len(row.label) + sum(map(len, row.extras.kept))
        if len(self._waiting) >= PART or self._letters >= LETTERS:
            self._flush()

    def __len__(self) -> int:
        return self._starts[-1] + len(self._waiting)

    def _flush(self) -> None:
        import pyarrow as pa

        rows, self._waiting, self._letters = self._waiting, [], 0
        batches = [pa.record_batch(part) for part in _columns(rows)]
        with storage.explained(self._paths[0]):
            if not self._files:
                self._files = [
                    pa.ipc.new_file(str(path), batch.schema)
                    for path, batch in zip(self._paths, batches, strict=True)
                ]
            for file, batch in zip(self._files, batches, strict=True):
                file.write_batch(batch)
        self._starts.append(self._starts[-1] + len(rows))

    def ended(self) -> "RowFile":
        """End the files, and return what reads them."""
        if self._waiting or not self._files:
            self._flush()
        with storage.explained(self._paths[0]):
            for file in self._files:
                file.close()
        return RowFile(self._split, self._paths, self._starts)


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


class RowFile:
    """Reads the rows of one raw file."""

    def __init__(self, split: str, paths: list[Path], starts: list[int]) -> None:
        """`paths` are the files of texts and of all else; `starts` those of the parts, and the end."""
        self._split, self._paths, self.starts = split, paths, starts
        self._readers: dict[tuple[bool, bool], Any] = {}
        self._kept: dict[bool, OrderedDict[int, Any]] = {True: OrderedDict(), False: OrderedDict()}

    def __len__(self) -> int:
        return self.starts[-1]

    def rows(
        self, number: int, wanted: NDArray[np.integer[Any]] | None, texts: bool, keep: bool = False
    ) -> Iterator[Row]:
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
        if (texts, keep) not in self._readers:
            # Whoever wants a row here and there maps the file, and reads no more of a part than that row.
            # Whoever reads all of it does not, since what is mapped counts as memory of the process.
            opened = (pa.memory_map if keep else pa.OSFile)(str(self._paths[not texts]))
            self._readers[texts, keep] = pa.ipc.open_file(opened)
        part = self._readers[texts, keep].get_batch(number)
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
