"""Cut a table: stratified, seeded, and without separating rows that belong together.

A unit (`row_units`) is a set of rows that is never separated. Its rank in the drawing order is a digest of
seed, purpose and name, not of its position: the same rows are drawn on any machine and library version, and
adding or removing a row does not affect the others.
"""

import hashlib
import math
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baton import params
from baton.errors import DataError
from baton.tables import row_sets
from baton.tables.row_units import Units
from baton.tables.target_cells import TargetCells

Drawn = NDArray[np.int64]  # places of units

# The first units of a class, this many, are drawn in blocks, in file order; each later one by its own digest,
# which needs no order.
IN_BLOCKS = 100


def largest(whole: Units) -> str:
    """Return a description of the largest unit for the user; '' if all units are single rows."""
    sizes = whole.sizes
    if not len(sizes) or sizes.max() < 2:
        return ""
    rows = whole[int(sizes.argmax())].rows
    shown = ", ".join(islice(row_sets.ids(rows), 3)) + (", …" if len(rows) > 3 else "")
    groups = (row.extras.group for row in row_sets.brief(rows) if row.extras.group)
    group = next((f" (a group is {own!r})" for own in groups), "")
    return (
        "the largest unit of rows that are never parted, being equal, nearly alike or of one group, "
        f"has {len(rows)} rows: {shown}{group}"
    )


def wanted(portion: params.ByShare | params.ByCount, rows: int) -> int:
    """Return the number of rows for a share or a count (at least one for a share)."""
    match portion:
        case params.ByShare():
            return max(1, round(portion.share * rows))
        case params.ByCount():
            return portion.count


def cut(
    whole: Units,
    count: int,
    *,
    cells: TargetCells,
    seed: int,
    purpose: str,
    least: int = 1,
    leave: int = 0,
    merge: bool = False,
) -> tuple[Units, Units]:
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
    rows = whole.sizes
    offered = {label: some[: max(0, len(some) - leave)] for label, some in classes.items()}
    if merge and count < len(classes):
        few = {label for label, some in classes.items() if count * int(rows[some].sum()) < whole.size}
        classes, offered = (_merged(whole, strata, few, seed, purpose) for strata in (classes, offered))
    sizes = {label: int(rows[some].sum()) for label, some in classes.items()}
    most = {label: int(rows[some].sum()) for label, some in offered.items()}
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
    drawn = np.zeros(len(whole), np.bool_)
    for label, own in offered.items():
        drawn[_fill(own, rows[own], quotas[label])] = True
    return _parted(whole, drawn)


def cut_for_good(whole: Units, share: float, *, seed: int, purpose: str) -> tuple[Units, Units]:
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
    table = whole.table
    inside = np.zeros(len(table.unit), np.bool_)
    inside[whole.roots] = True
    own = inside[table.unit[table.firsts[0]]]
    indices, codes, numbers = (some[own] for some in table.firsts)
    falls = np.zeros(len(indices), np.bool_)
    early = np.flatnonzero(numbers < IN_BLOCKS)
    places = {
        code: _places(share, f"{seed}\0{purpose}\0{table.lasting[code]}")
        for code in np.unique(codes[early]).tolist()
    }
    pairs = zip(codes[early].tolist(), numbers[early].tolist(), strict=True)
    falls[early] = [number in places[code] for code, number in pairs]
    late = np.flatnonzero(numbers >= IN_BLOCKS)
    bound = math.ceil(share * 2.0**64)
    falls[late] = table.orders(f"{seed}\0{purpose}", indices[late]) <= np.uint64(bound - 1)
    fallen = np.zeros(len(table.unit), np.bool_)
    fallen[table.unit[indices[falls]]] = True
    return _parted(whole, fallen[whole.roots])


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


def _parted(whole: Units, drawn: NDArray[np.bool_]) -> tuple[Units, Units]:
    return whole.take(drawn), whole.take(~drawn)


def _order(name: str) -> int:
    """Return a rank in the drawing order, between 0 and 2^64."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")


def _classes(whole: Units, seed: int, purpose: str) -> dict[str, Drawn]:
    """Return the places of the units of each stratum in drawing order; strata are sorted."""
    order = drawing(whole, seed, purpose)
    order = order[np.argsort(whole.codes[order], kind="stable")]
    codes = whole.codes[order]
    bounds = {label: np.searchsorted(codes, [code := whole.code(label), code + 1]) for label in whole.strata}
    return {label: order[first:end] for label, (first, end) in bounds.items()}


def _merged(
    whole: Units, classes: dict[str, Drawn], few: set[str], seed: int, purpose: str
) -> dict[str, Drawn]:
    """Return the strata, with those of `few` as one; their units are in drawing order."""
    places = np.sort(np.concatenate([classes[label] for label in few]))
    left = {label: some for label, some in classes.items() if label not in few}
    return left | {min(few): places[drawing(whole.take(places), seed, purpose)]}


def drawing(some: Units, seed: int, purpose: str) -> Drawn:
    """Return the places of units in drawing order, by a digest of each."""
    return np.argsort(some.orders(f"{seed}\0{purpose}"), kind="stable")


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


def _fill(some: Drawn, sizes: NDArray[Any], quota: int) -> Drawn:
    """Return whole units in order while they fit; the smallest one if none does."""
    whole = int(np.searchsorted(np.cumsum(sizes), quota, side="right"))  # the first ones, which all fit
    taken, left = [some[:whole]], quota - int(sizes[:whole].sum())
    for place in range(whole, len(some)):
        if not left:
            break
        if sizes[place] <= left:
            taken.append(some[place : place + 1])
            left -= int(sizes[place])
    found = np.concatenate(taken)
    return found if len(found) or not quota else some[[int(sizes.argmin())]]
