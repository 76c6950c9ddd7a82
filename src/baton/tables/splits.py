"""Cut a table: stratified, seeded, and without separating rows that belong together.

A `Unit` is a set of rows that is never separated: rows with the same text, nearly the same text or the same
group, directly or through others. Its rank in the drawing order is a digest of seed, purpose and name, not of
its position: the same rows are drawn on any machine and library version, and adding or removing a row does
not affect the others.
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
from baton.tables.target_cells import TargetCells

# The first units of a class, this many, are drawn in blocks, in file order; each later one by its own digest,
# which needs no order.
IN_BLOCKS = 100


@dataclass
class Unit:
    """Rows that stay together, in file order. The stratum is that of the first row."""

    name: str
    stratum: str
    rows: list[Row] = field(default_factory=list)
    # Rows unlike any before them: stratum, number among such rows of the stratum, name.
    firsts: list[tuple[str, int, str]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.rows)


def units(
    rows: list[Row],
    alike: near_duplicates.Near | None = None,
    left: Container[str] | None = None,
    strata: list[str] | None = None,
    lasting: list[str] | None = None,
) -> list[Unit]:
    """Join rows that have the same text (see `checks.key`), nearly the same text, or the same group.

    Args:
        rows: The rows of one table, in file order.
        alike: Pairs of near-duplicates.
        left: Ids of the rows to keep in the units; the others only count in joining and numbering. None keeps
            all.
        strata: The stratum of each row; None: its label.
        lasting: The strata in which rows are numbered for `cut_for_good`, which must not depend on rows
            appended later; None: `strata`.

    Returns:
        The units, ordered by their first rows; none is empty.
    """
    names, pairs = _linked(rows, alike or {})
    linked = {late for _, late in pairs}
    joined: dict[int, Unit] = {}
    strata = [row.label for row in rows] if strata is None else strata
    lasting = strata if lasting is None else lasting
    seen: dict[str, int] = defaultdict(int)
    for place, first in enumerate(near_duplicates.groups(len(rows), pairs)):
        row = rows[place]
        unit = joined.setdefault(first, Unit(names[first], strata[first]))
        unit.rows.append(row)
        if place not in linked:
            unit.firsts.append((stratum := lasting[place], seen[stratum], names[place]))
            seen[stratum] += 1
    if left is not None:
        of_rows = {row.id: stratum for row, stratum in zip(rows, strata, strict=True)}
        for unit in joined.values():
            unit.rows = [row for row in unit.rows if row.id in left]
            unit.stratum = of_rows[unit.rows[0].id] if unit.rows else unit.stratum
    return [unit for unit in joined.values() if unit.rows]


def _linked(rows: list[Row], alike: near_duplicates.Near) -> tuple[list[str], list[tuple[int, int]]]:
    """Return a name for each row, and pairs of places that stay together."""
    keys = [key(row.whole) for row in rows]
    names = [
        f"\0{row.extras.group}" if row.extras.group else own for row, own in zip(rows, keys, strict=True)
    ]
    return names, [*near_duplicates.links(keys, alike), *near_duplicates.links(names, {})]


def unit_of(rows: list[Row], alike: near_duplicates.Near) -> dict[str, int]:
    """Map each row id to the number of its unit."""
    return dict(
        zip((row.id for row in rows), near_duplicates.groups(len(rows), _linked(rows, alike)[1]), strict=True)
    )


def largest(whole: list[Unit]) -> str:
    """Return a description of the largest unit for the user; '' if all units are single rows."""
    unit = max(whole, key=len, default=None)
    if unit is None or len(unit) < 2:
        return ""
    shown = ", ".join(row.id for row in unit.rows[:3]) + (", …" if len(unit) > 3 else "")
    group = next((f" (a group is {row.extras.group!r})" for row in unit.rows if row.extras.group), "")
    return (
        "the largest unit of rows that are never parted, being equal, nearly alike or of one group, "
        f"has {len(unit)} rows: {shown}{group}"
    )


def flat(parts: list[Unit]) -> list[Row]:
    """Return the rows of the units, in file order."""
    return sorted((row for unit in parts for row in unit.rows), key=lambda row: row.number)


def wanted(portion: params.ByShare | params.ByCount, rows: int) -> int:
    """Return the number of rows for a share or a count (at least one for a share)."""
    match portion:
        case params.ByShare():
            return max(1, round(portion.share * rows))
        case params.ByCount():
            return portion.count


def cut(
    whole: list[Unit],
    count: int,
    *,
    cells: TargetCells,
    seed: int,
    purpose: str,
    least: int = 1,
    leave: int = 0,
    merge: bool = False,
) -> tuple[list[Unit], list[Unit]]:
    """Draw `count` rows, from each stratum in proportion to its size.

    Args:
        whole: The units of one table; their order is kept in both parts.
        count: How many rows to draw; missed by a few if units do not fit.
        cells: What labels mean, for messages.
        seed: The seed of the draw.
        purpose: The key of `preprocess` that requests it; draws with one seed and different purposes are
            independent.
        least: Rows to draw from each class that can spare them.
        leave: Units of each class that must stay behind.
        merge: Draw from strata that are due less than one row as if they were one, if there are more strata
            than rows to draw.

    Returns:
        The drawn units and the units left behind.

    Raises:
        DataError: `count` is too small for `least` rows of each class, or leaves too few behind.
    """
    classes = _classes(whole, seed, purpose)
    offered = {label: some[: max(0, len(some) - leave)] for label, some in classes.items()}
    if merge and count < len(classes):
        few = {label for label, some in classes.items() if count * sum(map(len, some)) < sum(map(len, whole))}
        classes, offered = (_merged(strata, few, seed, purpose) for strata in (classes, offered))
    sizes = {label: sum(map(len, some)) for label, some in classes.items()}
    most = {label: sum(map(len, some)) for label, some in offered.items()}
    floor = {label: min(least, most[label]) for label in sizes}
    if count < sum(floor.values()):
        got = f"{count} rows for {len(sizes)} {cells.words}"
        hint = f"raise preprocess.{purpose}, or set preprocess.checks.small_class to {cells.small_policies}"
        expected = f"at least {sum(floor.values())} rows, {least} for each {cells.word}"
        raise DataError(f"preprocess.{purpose} is too small", got=got, expected=expected, hint=hint)
    if count > sum(most.values()):
        got, hint = f"{count} of {sum(sizes.values())} rows", f"lower preprocess.{purpose}"
        if not sum(most.values()):  # it cannot be lowered
            hint = f"each of the {len(sizes)} {cells.words} has too few different texts or images for "
            hint += "every split: add rows to them, or name a file for the split in source"
            hint += f"; {some}" if (some := largest(whole)) else ""
        raise DataError(
            f"preprocess.{purpose} leaves too few rows",
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
    """Draw `share` of each stratum so that rows appended to the file never move others to another part.

    No rule can give every class its exact number and also keep every row in its part regardless of added
    rows: to keep rows, a rule must decide on each as if it were alone, and then all rows of some class fall
    into one part. Here the order of the file is taken as the order of arrival. Among the first `IN_BLOCKS`
    units of a class, each block of 1 / `share` units contributes one, at a place drawn from the seed (for a
    share above a half, it keeps one); the first unit stays behind, and of the first three, one is drawn. So
    of n units of a class, `share` * n are drawn, to within one (two for a share above a half). Each later
    unit is drawn by its own digest. Inserting, deleting or moving a row can therefore change the part of
    others only among the first `IN_BLOCKS` of its class; appending one changes none.

    A row that joins two units merges their parts: if one of them was drawn, both are, so no row leaves the
    drawn part.

    Args:
        whole: The units of one table in file order; their order is kept in both parts.
        share: The share of the units of a class, between 0 and 1.
        seed: The seed of the draw.
        purpose: The key of `preprocess` that requests it; draws with one seed and different purposes are
            independent.

    Returns:
        The drawn units and the units left behind.
    """
    strata = {stratum for unit in whole for stratum, _, _ in unit.firsts}
    places = {stratum: _places(share, f"{seed}\0{purpose}\0{stratum}") for stratum in strata}

    def falls(stratum: str, number: int, name: str) -> bool:
        return (
            number in places[stratum]
            if number < IN_BLOCKS
            else _order(f"{seed}\0{purpose}\0{name}") < share * 2.0**64
        )

    return _parted(whole, {unit.name for unit in whole if any(falls(*first) for first in unit.firsts)})


def _places(share: float, name: str) -> set[int]:
    """Return which of the first `IN_BLOCKS` places are drawn: block k ends at k / `share` and yields one."""
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
    """Return a rank in the drawing order, between 0 and 2^64."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")


def _classes(whole: list[Unit], seed: int, purpose: str) -> dict[str, list[Unit]]:
    """Return the units of each stratum in drawing order; strata are sorted."""
    classes: dict[str, list[Unit]] = {label: [] for label in sorted({unit.stratum for unit in whole})}
    for unit in drawing(whole, seed, purpose):
        classes[unit.stratum].append(unit)
    return classes


def _merged(classes: dict[str, list[Unit]], few: set[str], seed: int, purpose: str) -> dict[str, list[Unit]]:
    """Return the strata, with those of `few` as one; their units are in drawing order."""
    joined = [unit for label in few for unit in classes[label]]
    left = {label: some for label, some in classes.items() if label not in few}
    return left | {min(few): drawing(joined, seed, purpose)}


def drawing(some: list[Unit], seed: int, purpose: str) -> list[Unit]:
    """Return units in drawing order, by a digest of each."""
    return sorted(some, key=lambda unit: hashlib.sha256(f"{seed}\0{purpose}\0{unit.name}".encode()).digest())


def _allot(sizes: dict[str, int], least: dict[str, int], most: dict[str, int], count: int) -> dict[str, int]:
    """Return rows per class: proportional by largest remainders, within [least, most].

    Requires sum(least) <= count <= sum(most).
    """
    exact = {label: count * size / sum(sizes.values()) for label, size in sizes.items()}
    quotas = {label: min(max(math.floor(exact[label]), least[label]), most[label]) for label in sizes}
    while short := count - sum(quotas.values()):
        step = 1 if short > 0 else -1
        free = [label for label in sizes if least[label] <= quotas[label] + step <= most[label]]
        chosen = max(free, key=lambda label: step * (exact[label] - quotas[label]))  # ties: the first label
        quotas[chosen] += step
    return quotas


def _fill(some: list[Unit], quota: int) -> list[Unit]:
    """Return whole units in order while they fit; the smallest one if none does."""
    taken: list[Unit] = []
    size = 0
    for unit in some:
        if size + len(unit) <= quota:
            taken.append(unit)
            size += len(unit)
    return taken or ([min(some, key=len)] if quota else [])
