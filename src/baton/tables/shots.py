"""Keep the labels of a few rows of each class; the other rows of train have none from then on.

Input: the units of the splits and params `preprocess.shots`. Output: the units with the rows that keep their
labels, those of train that do not, and what report.json says of both.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, NamedTuple

from baton.tables import labels, splits
from baton.tables.rows import Row
from baton.tables.splits import Unit

PURPOSES = {"train": "shots", "val": "shots of val"}  # of the draws, see `splits.cut`
SHOWN_CLASSES = 5


class Kept(NamedTuple):
    """What a draw keeps and leaves."""

    parts: dict[str, list[Unit]]  # split -> its units
    left: list[Unit]  # of train, without labels from then on
    figures: dict[str, Any]  # for report.json
    notes: list[str]  # for the user


def keep(parts: dict[str, list[Unit]], count: int, *, seed: int, files: Iterable[str]) -> Kept:
    """Keep `count` rows of each class of train, and of val if it is one of the `files` (or cut by time).

    Of val the other rows are left out: they are not the few labels that a model may be chosen by, and as rows
    to learn from they would be too close to those by which it is.
    """
    figures: dict[str, Any] = {"rows_of_class": count}
    notes: list[str] = []
    found, left_of = dict(parts), dict[str, list[Unit]]()
    for split in ("train", "val") if "val" in files else ("train",):
        found[split], left_of[split] = draw(parts[split], count, seed=seed, purpose=PURPOSES[split])
        kept, left = _size(found[split]), _size(left_of[split])
        sizes = Counter(row.label for unit in found[split] for row in unit.rows)
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


def draw(whole: list[Unit], count: int, *, seed: int, purpose: str) -> tuple[list[Unit], list[Unit]]:
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
    turns: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for unit in splits.drawing(whole, seed, purpose):
        seen = Counter[str]()
        for row in unit.rows:
            turns[row.label].append((seen[row.label], row.id))
            seen[row.label] += 1
    drawn = {
        id_
        for own in turns.values()
        for _, id_ in sorted(own, key=lambda pair: pair[0])[:count]  # stable: units stay in drawing order
    }
    return _with(whole, drawn), _with(whole, {row.id for unit in whole for row in unit.rows} - drawn)


def validation(whole: list[Unit], count: int) -> int:
    """Return how many rows of `whole` to cut for validation, where params ask for `count`.

    A share of few rows may be less than one row of each class: at least one of each that can spare it is cut.
    """
    units = Counter(unit.stratum for unit in whole)
    return max(count, sum(some > 1 for some in units.values()))


def unlabelled(left: list[Unit], val: list[Unit]) -> tuple[list[Row], list[Row]]:
    """Return the rows of `left` that a model may learn from without labels, and the others, in file order.

    The others are of units that have a row in val: of the same group, or nearly the same text.
    """
    chosen = {unit.name for unit in val}
    return (
        splits.flat([unit for unit in left if unit.name not in chosen]),
        splits.flat([unit for unit in left if unit.name in chosen]),
    )


def _with(units: list[Unit], ids: set[str]) -> list[Unit]:
    """Return the units with these rows alone; none is empty. The stratum is the class of the first row."""
    some = [(unit, [row for row in unit.rows if row.id in ids]) for unit in units]
    return [replace(unit, rows=rows, stratum=rows[0].label) for unit, rows in some if rows]


def _size(units: list[Unit]) -> int:
    return sum(map(len, units))


def _shown(sizes: dict[str, int]) -> str:
    more = f" and {len(sizes) - SHOWN_CLASSES} more" if len(sizes) > SHOWN_CLASSES else ""
    return ", ".join(f"{label!r} ({rows})" for label, rows in [*sizes.items()][:SHOWN_CLASSES]) + more
