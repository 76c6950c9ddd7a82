"""Check rows for near-duplicates, and list the test rows that have one in train or val.

Of images with captions the captions that splits share are counted too.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from baton.tables import row_sets, text_numbers
from baton.tables.near_duplicates import Near, chains
from baton.tables.row_sets import Numbers, Rows
from baton.tables.rows import Row
from baton.tables.text_key import key

SHOWN = 3  # ids that a note names
SPLITS = ("test", "val", "train")  # in the order in which a twin is looked for


def near_duplicate(rows: Rows, alike: Near, contexts: bool = False) -> dict[str, str]:
    """Return train rows near a val or test row, val rows near a test row, and near repeats within one file.

    Of near repeats within one file, the first row is not returned.

    Args:
        rows: The rows of all files, each file's in order.
        alike: Pairs of texts, with their similarity, see `text_numbers.of_parts`.
        contexts: Whether second texts are contexts. Two questions about one are alike for that reason alone,
            and no near-duplicates.
    """
    numbers, alike, size = text_numbers.of(rows, alike)
    if contexts:
        alike = _of_other_contexts(rows, numbers, alike, size)
    some = text_numbers.flags(alike, size)[numbers]
    if not some.any():
        return {}
    rows, numbers = row_sets.where(rows, some), numbers[some]  # the others are like none
    first = _first_of_splits(rows, numbers.tolist())
    groups = chains(alike)
    linked = _first_of_splits(rows, [groups.get(number) for number in numbers.tolist()])
    found = {}
    for row, number in zip(row_sets.brief(rows), numbers.tolist(), strict=True):
        if reason := _reason(row, alike[number], groups.get(number), first, linked):
            found[row.id] = reason
    return found


Firsts = dict[str, dict[Any, tuple[int, str]]]  # split -> number -> place in the file and id of the first row


def _reason(row: Row, others: Mapping[int, float], group: int | None, first: Firsts, linked: Firsts) -> str:
    """Return what a row is like, '' if it is nothing that counts."""
    for split in SPLITS[: 1 + SPLITS.index(row.part)]:
        known = first[split]
        for other, share in others.items():
            if (twin := known.get(other)) and (split != row.part or twin[0] < row.number):
                return f"{share:.2f} like {twin[1]}"
        if group is not None and split != row.part and (twin := linked[split].get(group)):
            return f"like {twin[1]}, through others"
    return ""


def _first_of_splits(rows: Rows, names: list[Any]) -> Firsts:
    """Return the first row of each name in each split; names that are None do not count."""
    first: Firsts = {split: {} for split in SPLITS}
    for row, name in zip(row_sets.brief(rows), names, strict=True):
        if name is not None:
            first[row.part].setdefault(name, (row.number, row.id))
    return first


def _of_other_contexts(rows: Rows, numbers: Numbers, alike: Near, size: int) -> Near:
    """Return the pairs of texts of rows whose second texts differ."""
    some = text_numbers.flags(alike, size)[numbers]
    pairs = zip(row_sets.where(rows, some), numbers[some].tolist(), strict=True)
    own = {number: key(row.pair or "") for row, number in pairs}
    return {
        name: {other: share for other, share in others.items() if own.get(other) != own.get(name)}
        for name, others in alike.items()
    }


def near_training(parts: Mapping[str, Rows], alike: Near, more: Rows = ()) -> list[str]:
    """Return test rows with (nearly) the same text in train or val, which may only measure memorization.

    Rows in `more` count as those of train.
    """
    numbered = text_numbers.of_parts([parts["train"], parts["val"], more, parts["test"]], alike)
    *known, test = numbered.parts
    there = np.zeros(numbered.size, np.bool_)
    for numbers in known:
        there[numbers] = True
    groups = chains(numbered.alike)
    linked = {group for number, group in groups.items() if number >= 0 and there[number]}
    found = there[test]
    for place in np.flatnonzero(text_numbers.flags(numbered.alike, numbered.size)[test]).tolist():
        number = int(test[place])
        others = [other for other in numbered.alike[number] if other >= 0]
        found[place] |= groups.get(number) in linked or bool(there[others].any())
    return list(row_sets.ids(row_sets.where(parts["test"], found)))


def shared_captions(parts: Mapping[str, Rows]) -> list[str]:
    """Return a note on the test rows whose caption train or val has too, under other images.

    Splits never share an image, but "a dog" may well describe two.
    """
    known = {
        key(row.caption) for split in ("train", "val") for row in row_sets.brief(parts[split]) if row.caption
    }
    shared = [row.id for row in row_sets.brief(parts["test"]) if row.caption and key(row.caption) in known]
    if not shared:
        return []
    few = ", ".join(shared[:SHOWN]) + (f" and {len(shared) - SHOWN} more" if len(shared) > SHOWN else "")
    return [f"{len(shared)} of {len(parts['test'])} test rows have the text of a train or val row: {few}"]
