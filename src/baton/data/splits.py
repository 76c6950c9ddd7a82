"""Cut a table: stratified, seeded, and never through a group of rows with the same text.

A row's place in the order of drawing is a digest of seed, purpose and text, not of its position: the same rows are drawn on any machine and
library version, and a row more or less moves no other out of its place.
"""

import hashlib
import math
from collections import defaultdict

from baton import params
from baton.data.checks import key
from baton.data.raw import Row
from baton.errors import DataError

Group = list[Row]  # rows with the same text


def wanted(portion: params.ByShare | params.ByCount, rows: int) -> int:
    """Number of rows that a share or a count stands for (at least one)."""
    match portion:
        case params.ByShare():
            return max(1, round(portion.share * rows))
        case params.ByCount():
            return portion.count


def cut(rows: list[Row], count: int, *, seed: int, purpose: str, least: int = 1, leave: int = 0) -> tuple[list[Row], list[Row]]:
    """Draw `count` rows, from each class in proportion to its size.

    Rows with the same text (see `checks.key`) stay together, under the label of the first of them.

    Args:
        rows: one table; its order is kept in both parts.
        count: how many rows to draw; it is missed by a few where groups do not fit.
        seed: of the draw.
        purpose: the key of `preprocess` that asks for it; draws with one seed and different purposes are independent.
        least: rows to draw from each class that can spare them.
        leave: groups of each class that must stay behind.

    Returns:
        drawn rows, rows left behind.

    Raises:
        DataError: `count` has no room for `least` rows of each class, or leaves too few behind.
    """
    classes = _classes(rows, seed, purpose)
    offered = {label: groups[: max(0, len(groups) - leave)] for label, groups in classes.items()}
    sizes = {label: sum(map(len, groups)) for label, groups in classes.items()}
    most = {label: sum(map(len, groups)) for label, groups in offered.items()}
    floor = {label: min(least, most[label]) for label in sizes}
    if count < sum(floor.values()):
        got, hint = f"{count} rows for {len(sizes)} classes", f"raise preprocess.{purpose}, or set preprocess.checks.small_class to drop"
        expected = f"at least {sum(floor.values())} rows, {least} for each class"
        raise DataError(f"preprocess.{purpose} is too small", got=got, expected=expected, hint=hint)
    if count > sum(most.values()):
        got, hint = f"{count} of {len(rows)} rows", f"lower preprocess.{purpose}"
        raise DataError(f"preprocess.{purpose} leaves too little", got=got, expected=f"at most {sum(most.values())} rows", hint=hint)
    quotas = _allot(sizes, floor, most, count)
    drawn = {row.id for label, groups in offered.items() for row in _fill(groups, quotas[label])}
    return [row for row in rows if row.id in drawn], [row for row in rows if row.id not in drawn]


def cut_for_good(rows: list[Row], share: float, *, seed: int, purpose: str) -> tuple[list[Row], list[Row]]:
    """Draw every row whose own digest falls into `share`: rows that come later move none from one part to the other.

    So a table that grows keeps its test rows out of training, and training rows out of test. The number drawn, in all and of each class,
    is therefore `share` only in expectation. Two rows are excepted, which a growing class may move: one is drawn of a class that none falls
    to, and one is left of a class that all fall to.

    Args:
        rows: one table; its order is kept in both parts. Rows with the same text stay together.
        share: of the rows, between 0 and 1.
        seed: of the draw.
        purpose: the key of `preprocess` that asks for it; draws with one seed and different purposes are independent.

    Returns:
        drawn rows, rows left behind.
    """
    drawn: set[str] = set()
    for groups in _classes(rows, seed, purpose).values():
        within = sum(_order(seed, purpose, key(group[0].text)) < share * 2.0**64 for group in groups)
        drawn |= {row.id for group in groups[: min(max(1, within), len(groups) - 1)] for row in group}
    return [row for row in rows if row.id in drawn], [row for row in rows if row.id not in drawn]


def _order(seed: int, purpose: str, name: str) -> int:
    """A group's place in the order of drawing, between 0 and 2^64."""
    return int.from_bytes(hashlib.sha256(f"{seed}\0{purpose}\0{name}".encode()).digest()[:8], "big")


def _classes(rows: list[Row], seed: int, purpose: str) -> dict[str, list[Group]]:
    """Groups of each label in the order of drawing; labels sorted."""
    groups: dict[str, Group] = defaultdict(list)
    for row in rows:
        groups[key(row.text)].append(row)
    classes: dict[str, list[Group]] = {label: [] for label in sorted({group[0].label for group in groups.values()})}
    for name in sorted(groups, key=lambda name: hashlib.sha256(f"{seed}\0{purpose}\0{name}".encode()).digest()):
        classes[groups[name][0].label].append(groups[name])
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


def _fill(groups: list[Group], quota: int) -> list[Row]:
    """Whole groups in order while they fit; the smallest one where none does."""
    taken: list[Row] = []
    for group in groups:
        if len(taken) + len(group) <= quota:
            taken += group
    return taken or (min(groups, key=len) if quota else [])
