"""The rows of an input, one after the other, and in chunks of which each becomes a part of the output."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

CHUNK = {"text": 4096, "images": 256, "audio": 256, "image_text": 256}  # rows, by what a model reads
CHUNK_BYTES = 2**25  # of texts and files in a chunk, about


@dataclass(frozen=True, slots=True)
class Row:
    """One row of an input: what a model reads of it by name, or why it cannot be read."""

    values: Mapping[str, Any] = field(default_factory=dict)
    id: Any = None
    error: str = ""


@dataclass(frozen=True)
class Chunk:
    """Consecutive rows; `number` counts chunks from 0, `first` is the first row's number, from 1."""

    number: int
    first: int
    rows: list[Row]


def chunks(rows: Iterable[Row], most: int, most_bytes: int = CHUNK_BYTES) -> Iterator[Chunk]:
    """Yield chunks of at most `most` rows; large rows make them shorter, so that memory stays flat.

    Where a chunk ends depends on the rows alone, so that a job that goes on finds the same chunks.
    """
    kept: list[Row] = []
    number, first, size = 0, 1, 0
    for row in rows:
        own = _size(row)
        if kept and (len(kept) == most or size + own > most_bytes):
            yield Chunk(number, first, kept)
            number, first, kept, size = number + 1, first + len(kept), [], 0
        kept.append(row)
        size += own
    if kept:
        yield Chunk(number, first, kept)


def _size(row: Row) -> int:
    return sum(len(value) for value in row.values.values() if isinstance(value, str | bytes))
