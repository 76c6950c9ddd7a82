"""Cut a table: stratified, seeded, and never through what belongs together.

A `Unit` is what is never parted: rows with the same text, nearly the same text or the same group, directly or through others. Its place
in the order of drawing is a digest of seed, purpose and name, not of its position: the same rows are drawn on any machine and library
version, and a row more or less moves no other out of its place.
"""

import hashlib
import math
from collections import defaultdict
from collections.abc import Container
from dataclasses import dataclass, field

from baton import params
from baton.errors import DataError
from baton.tables import near_duplicates
from baton.tables.checks import key
from baton.tables.rows import Row

# So many units of a class are drawn in blocks, in file order; from then on each by its own digest, which needs no order.
IN_BLOCKS = 100


@dataclass
class Unit:
    """Rows that stay together, in file order. Its label is that of the first of them."""

    name: str
    label: str
    rows: list[Row] = field(default_factory=list)
    firsts: list[tuple[str, int, str]] = field(
        default_factory=list
    )  # rows like none before them: label, number among such, name

    def __len__(self) -> int:
        return len(self.rows)


def units(
    rows: list[Row], alike: near_duplicates.Near | None = None, left: Container[str] | None = None
) -> list[Unit]:
    """Join rows that have the same text (see `checks.key`), near ones, or the same group.

    Args:
        rows: of one table, in file order.
        alike: pairs of near-duplicates.
        left: ids of the rows that the units hold; others only count in joining and numbering. None: all.

    Returns:
        units by their first rows; none is empty.
    """
    names, pairs = _linked(rows, alike or {})
    linked = {late for _, late in pairs}
    joined: dict[int, Unit] = {}
    seen: dict[str, int] = defaultdict(int)
    for place, first in enumerate(near_duplicates.groups(len(rows), pairs)):
        row = rows[place]
        unit = joined.setdefault(first, Unit(names[first], rows[first].label))
        unit.rows.append(row)
        if place not in linked:
            unit.firsts.append((row.label, seen[row.label], names[place]))
            seen[row.label] += 1
    if left is not None:
        for unit in joined.values():
            unit.rows = [row for row in unit.rows if row.id in left]
            unit.label = unit.rows[0].label if unit.rows else unit.label
    return [unit for unit in joined.values() if unit.rows]


def _linked(rows: list[Row], alike: near_duplicates.Near) -> tuple[list[str], list[tuple[int, int]]]:
    """A name of each row, and pairs of places that stay together."""
    keys = [key(row.text) for row in rows]
    names = [
        f"\0{row.extras.group}" if row.extras.group else own for row, own in zip(rows, keys, strict=True)
    ]
    return names, [*near_duplicates.links(keys, alike), *near_duplicates.links(names, {})]


def unit_of(rows: list[Row], alike: near_duplicates.Near) -> dict[str, int]:
    """Row id -> number of its unit."""
    return dict(
        zip((row.id for row in rows), near_duplicates.groups(len(rows), _linked(rows, alike)[1]), strict=True)
    )


def largest(whole: list[Unit]) -> str:
    """The largest unit, for a person; nothing where all are single rows."""
    unit = max(whole, key=len, default=None)
    if unit is None or len(unit) < 2:
        return ""
    shown = ", ".join(row.id for row in unit.rows[:3]) + (", …" if len(unit) > 3 else "")
    group = next((f" (a group is {row.extras.group!r})" for row in unit.rows if row.extras.group), "")
    return f"the largest unit of rows that are never parted, being equal, nearly alike or of one group, has {len(unit)} rows: {shown}{group}"


def flat(parts: list[Unit]) -> list[Row]:
    """Their rows, in file order."""
    return sorted((row for unit in parts for row in unit.rows), key=lambda row: row.number)


def wanted(portion: params.ByShare | params.ByCount, rows: int) -> int:
    """Number of rows that a share or a count stands for (at least one)."""
    match portion:
        case params.ByShare():
            return max(1, round(portion.share * rows))
        case params.ByCount():
            return portion.count


def cut(
    whole: list[Unit], count: int, *, seed: int, purpose: str, least: int = 1, leave: int = 0
) -> tuple[list[Unit], list[Unit]]:
    """Draw `count` rows, from each class in proportion to its size.

    Args:
        whole: one table; its order is kept in both parts.
        count: how many rows to draw; it is missed by a few where units do not fit.
        seed: of the draw.
        purpose: the key of `preprocess` that asks for it; draws with one seed and different purposes are independent.
        least: rows to draw from each class that can spare them.
        leave: units of each class that must stay behind.

    Returns:
        drawn units, units left behind.

    Raises:
        DataError: `count` has no room for `least` rows of each class, or leaves too few behind.
    """
    classes = _classes(whole, seed, purpose)
    offered = {label: some[: max(0, len(some) - leave)] for label, some in classes.items()}
    sizes = {label: sum(map(len, some)) for label, some in classes.items()}
    most = {label: sum(map(len, some)) for label, some in offered.items()}
    floor = {label: min(least, most[label]) for label in sizes}
    if count < sum(floor.values()):
        got = f"{count} rows for {len(sizes)} classes"
        hint = f"raise preprocess.{purpose}, or set preprocess.checks.small_class to drop, train_only or {{other: NAME}}"
        expected = f"at least {sum(floor.values())} rows, {least} for each class"
        raise DataError(f"preprocess.{purpose} is too small", got=got, expected=expected, hint=hint)
    if count > sum(most.values()):
        got, hint = f"{count} of {sum(sizes.values())} rows", f"lower preprocess.{purpose}"
        if not sum(most.values()):  # nothing to lower it to
            hint = f"each of the {len(sizes)} classes has too few different texts or pictures for every split: add rows to them, or name "
            hint += "a file for the split in source"
            hint += f"; {some}" if (some := largest(whole)) else ""
        raise DataError(
            f"preprocess.{purpose} leaves too little",
            got=got,
            expected=f"at most {sum(most.values())} rows",
            hint=hint,
        )
    quotas = _allot(sizes, floor, most, count)
    return _parted(
        whole, {unit.name for label, some in offered.items() for unit in _fill(some, quotas[label])}
    )


def cut_for_good(
    whole: list[Unit], share: float, *, seed: int, purpose: str
) -> tuple[list[Unit], list[Unit]]:
    """Draw `share` of each class so that rows appended to the file move none from one part to the other.

    No rule can be exact in number for every class and hold every row in its part whatever rows come to it: such a rule decides on each row
    as if it were alone, and then all rows of some class fall to one part. Here the order of the file is taken for the order in which
    rows came. Of the first `IN_BLOCKS` units of a class each block of 1 / `share` gives one, at a place that the seed draws (for a share
    above a half, keeps one); the first stays behind, and of three one is drawn. So of n units of a class `share` * n are drawn, but for one
    (two for a share above a half). Later units are drawn each by its own digest. A row that is inserted, deleted or moved can
    therefore change the part of others only among the first `IN_BLOCKS` of its class; one that is appended changes none.

    A row that joins two units joins their fates: if one of them was drawn, both are, so nothing goes back from the part drawn.

    Args:
        whole: one table in file order; its order is kept in both parts.
        share: of the units of a class, between 0 and 1.
        seed: of the draw.
        purpose: the key of `preprocess` that asks for it; draws with one seed and different purposes are independent.

    Returns:
        drawn units, units left behind.
    """
    labels = {label for unit in whole for label, _, _ in unit.firsts}
    places = {label: _places(share, f"{seed}\0{purpose}\0{label}") for label in labels}

    def falls(label: str, number: int, name: str) -> bool:
        return (
            number in places[label]
            if number < IN_BLOCKS
            else _order(f"{seed}\0{purpose}\0{name}") < share * 2.0**64
        )

    return _parted(whole, {unit.name for unit in whole if any(falls(*first) for first in unit.firsts)})


def _places(share: float, name: str) -> set[int]:
    """Which of the first `IN_BLOCKS` places are drawn: the k-th block ends where k / `share` is passed, and gives one."""
    drawn: set[int] = set()
    rare = min(share, 1 - share)
    ends = [math.ceil(round(number / rare, 6)) for number in range(1, IN_BLOCKS + 1)]
    for start, end in zip([0, *ends], ends, strict=False):
        if start >= IN_BLOCKS:
            break
        low, high = (1, min(end, 3)) if start == 0 else (start, end)
        drawn.add(low + _order(f"{name}\0block\0{start}") % (high - low))
    return drawn if share <= 1 / 2 else set(range(1, IN_BLOCKS)) - drawn


def _parted(whole: list[Unit], drawn: set[str]) -> tuple[list[Unit], list[Unit]]:
    return [unit for unit in whole if unit.name in drawn], [unit for unit in whole if unit.name not in drawn]


def _order(name: str) -> int:
    """A place in the order of drawing, between 0 and 2^64."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")


def _classes(whole: list[Unit], seed: int, purpose: str) -> dict[str, list[Unit]]:
    """Units of each label in the order of drawing; labels sorted."""
    classes: dict[str, list[Unit]] = {label: [] for label in sorted({unit.label for unit in whole})}
    for unit in sorted(
        whole, key=lambda unit: hashlib.sha256(f"{seed}\0{purpose}\0{unit.name}".encode()).digest()
    ):
        classes[unit.label].append(unit)
    return classes


def _allot(sizes: dict[str, int], least: dict[str, int], most: dict[str, int], count: int) -> dict[str, int]:
    """Rows per class: proportional by largest remainders, within [least, most]; sum(least) <= count <= sum(most)."""
    exact = {label: count * size / sum(sizes.values()) for label, size in sizes.items()}
    quotas = {label: min(max(math.floor(exact[label]), least[label]), most[label]) for label in sizes}
    while short := count - sum(quotas.values()):
        step = 1 if short > 0 else -1
        free = [label for label in sizes if least[label] <= quotas[label] + step <= most[label]]
        chosen = max(free, key=lambda label: step * (exact[label] - quotas[label]))  # ties: the first label
        quotas[chosen] += step
    return quotas


def _fill(some: list[Unit], quota: int) -> list[Unit]:
    """Whole units in order while they fit; the smallest one where none does."""
    taken: list[Unit] = []
    size = 0
    for unit in some:
        if size + len(unit) <= quota:
            taken.append(unit)
            size += len(unit)
    return taken or ([min(some, key=len)] if quota else [])
