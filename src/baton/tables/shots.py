"""Keep the labels of a few rows of each class; the other rows of train have none from then on.

Input: the units of the splits and params `preprocess.shots`. Output: the units with the rows that keep their
labels, those of train that do not, and what report.json says of both.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from baton.tables import labels, row_sets, splits
from baton.tables.row_sets import Rows
from baton.tables.row_units import Units

PURPOSES = {"train": "shots", "val": "shots of val"}  # of the draws, see `splits.cut`
SHOWN_CLASSES = 5


class Kept(NamedTuple):
    """What a draw keeps and leaves."""

    parts: dict[str, Units]  # split -> its units
    left: Units  # of train, without labels from then on
    figures: dict[str, Any]  # for report.json
    notes: list[str]  # for the user


def keep(parts: dict[str, Units], count: int, *, seed: int, files: Iterable[str]) -> Kept:
    """Keep `count` rows of each class of train, and of val if it is one of the `files` (or cut by time).

    Of val the other rows are left out: they are not the few labels that a model may be chosen by, and as rows
    to learn from they would be too close to those by which it is.
    """
    figures: dict[str, Any] = {"rows_of_class": count}
    notes: list[str] = []
    found, left_of = dict(parts), dict[str, Units]()
    for split in ("train", "val") if "val" in files else ("train",):
        found[split], left_of[split] = draw(parts[split], count, seed=seed, purpose=PURPOSES[split])
        kept, left = found[split].size, left_of[split].size
        sizes = Counter(row.label for row in row_sets.brief(found[split].rows))
        fewer = {label: sizes[label] for label in sorted(sizes, key=labels.order) if sizes[label] < count}
        figures[split] = {"kept": kept, "left": left, "smaller_classes": fewer}
        if fewer:
            notes.append(
                f"preprocess.shots is {count}, but {split} has fewer rows of {_shown(fewer)}: all are kept"
            )
    if "val" in left_of:
        kept, left = figures["val"]["kept"], figures["val"]["left"]
        notes.append(
            f"preprocess.shots applies to val too, which is not cut from these rows: {kept} of its "
            f"{kept + left} rows are kept, {count} of each class; the others are left out"
        )
    return Kept(found, left_of["train"], figures, notes)


def draw(whole: Units, count: int, *, seed: int, purpose: str) -> tuple[Units, Units]:
    """Draw `count` rows of each class, or all of a class that has fewer.

    First one row of each unit is drawn, in the order of `splits.drawing`, then second ones, and so on: a
    patient with many rows is one case. The order depends on the seed and the rows alone, so what is drawn for
    a smaller count is among what is drawn for a larger one.

    Args:
        whole: The units of one table; their order is kept.
        count: How many rows of each class to draw.
        seed: The seed of the draw.
        purpose: What the draw is for; draws with one seed and different purposes are independent.

    Returns:
        The units with the drawn rows, and the units with the others. A unit may have rows in both.
    """
    ranks = np.empty(len(whole), np.int64)
    ranks[splits.drawing(whole, seed, purpose)] = np.arange(len(whole))
    rank_of_root = np.zeros(len(whole.table.unit), np.int64)
    rank_of_root[whole.roots] = ranks
    of_rows = rank_of_root[whole.table.unit[whole.members]]
    names = (row.label for row in row_sets.brief(whole.rows))
    codes, known = row_sets.coded(names, whole.size)
    turns = row_sets.counted(of_rows * max(1, len(known)) + codes)  # among the unit's rows of the class
    order = np.lexsort((of_rows, turns, codes))
    drawn = np.zeros(whole.size, np.bool_)
    drawn[order] = row_sets.counted(codes[order]) < count
    return whole.with_rows(drawn), whole.with_rows(~drawn)


def validation(whole: Units, count: int) -> int:
    """Return how many rows of `whole` to cut for validation, where params ask for `count`.

    A share of few rows may be less than one row of each class: at least one of each that can spare it is cut.
    """
    return max(count, int((np.bincount(whole.codes) > 1).sum()))


def unlabelled(left: Units, val: Units) -> tuple[Rows, Rows]:
    """Return the rows of `left` that a model may learn from without labels, and the others, in file order.

    The others are of units that have a row in val: of the same group, or nearly the same text.
    """
    chosen = np.isin(left.orders(""), val.orders(""))
    return left.take(~chosen).rows, left.take(chosen).rows


def _shown(sizes: dict[str, int]) -> str:
    more = f" and {len(sizes) - SHOWN_CLASSES} more" if len(sizes) > SHOWN_CLASSES else ""
    return ", ".join(f"{label!r} ({rows})" for label, rows in [*sizes.items()][:SHOWN_CLASSES]) + more
