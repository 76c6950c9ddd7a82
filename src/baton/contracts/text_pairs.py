"""A pair of texts that is one row: the column of the second text, and both as one text.

Checks, digests, reports and drift treat a pair as one text, `whole`; models, baselines and served models read
its two sides.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

COLUMN = "text_pair"  # of a clean table: the second text; the first is `text`
# The symbol for a unit separator, which ordinary texts do not contain: pairs that differ in where the first
# text ends differ as a whole.
BETWEEN = " \u241f "

Pair = tuple[str, str]


def whole(text: str, pair: str | None) -> str:
    """Return both sides as one text, or the text alone."""
    return text if pair is None else f"{text}{BETWEEN}{pair}"


def wholes(texts: Iterable[str], pairs: Iterable[str] | None = None) -> list[str]:
    """Return `whole` of each row of one column of texts, or of two."""
    return [*texts] if pairs is None else [whole(*both) for both in zip(texts, pairs, strict=True)]


def columns(table: Path) -> list[str]:
    """Return the columns of a clean table's texts: one, or two if its rows are pairs."""
    import pyarrow.parquet as pq

    return ["text", COLUMN] if COLUMN in pq.read_schema(table).names else ["text"]


def sides(batch: Any) -> Iterator[list[str]]:
    """Yield the texts of an Arrow batch or table with these columns, and then the second texts, if any."""
    for name in ("text", COLUMN):
        if name in batch.schema.names:
            yield batch[name].to_pylist()
