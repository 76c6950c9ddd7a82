"""The main figure by what every row has: its length, whether a model reads all of it, and near-duplicates.

Columns that only some projects keep are in `slices`.

Inputs: the test rows, the ids of those that train has nearly seen, the tokens that a model reads of each ->
rows of reports/tables/groups.csv.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baton.evaluate.inputs import Rows
from baton.evaluate.report.wording import amount

PARTS = 5  # of about as many rows, from the shortest texts to the longest
LONGEST_WORD = 20  # characters; texts whose words are longer on average are written without spaces


@dataclass(frozen=True)
class Group:
    """A property of rows."""

    values: Sequence[str]  # (n)
    order: Sequence[str]  # the values that occur, as they are listed


@dataclass(frozen=True)
class Read:
    """How much of each row a model reads."""

    tokens: NDArray[np.int64]  # (n)
    most: int  # that it reads of any row


def groups(test: Rows, repeats: set[str], read: Read | None) -> dict[str, Group]:
    """Return the name of each property -> its values; without those in which all rows are alike.

    Args:
        test: the rows.
        repeats: ids of rows that have a near-duplicate in train or val.
        read: of texts; None for other inputs.
    """
    found: dict[str, Group] = {}
    if test.shown == "text":
        found["length of the text"] = _lengths(test.texts)
    if read is not None:
        assert len(read.tokens) == len(test.ids), "arrays are of the same rows as the clean table"
        cut, whole = f"cut after {read.most:,} tokens, or just as long", "read to its end"
        values = [cut if count >= read.most else whole for count in read.tokens.tolist()]
        found["how much of it is read"] = Group(values, [whole, cut])
    near, alone = "a near-duplicate in train or validation", "none"
    values = [near if id_ in repeats else alone for id_ in test.ids]
    found["near-duplicates"] = Group(values, [alone, near])
    return {name: own for name, own in found.items() if len(set(own.values)) > 1}


def _lengths(texts: Sequence[str]) -> Group:
    """Return texts by their words, or by their characters if words are not written apart."""
    counts = np.array([len(text.split()) for text in texts])
    characters = np.array([len(text) for text in texts])
    unit = "words"
    if characters.sum() > LONGEST_WORD * counts.sum():
        counts, unit = characters, "characters"
    inner = np.quantile(counts, np.arange(1, PARTS) / PARTS, method="inverted_cdf")
    ends = np.unique([*inner, counts.max()])  # the longest of each part
    place = np.searchsorted(ends, counts)
    named = [_named(counts[place == part], unit) for part in range(len(ends))]
    return Group([named[part] for part in place.tolist()], named)


def _named(counts: NDArray[Any], unit: str) -> str:
    low, high = int(counts.min()), int(counts.max())
    return amount(low, unit) if low == high else f"{low:,} to {high:,} {unit}"
