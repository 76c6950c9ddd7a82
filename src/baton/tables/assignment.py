"""Assign the rows that passed the checks to train, val and test, as set in params `preprocess`.

Splits without a source file are cut from train, at random or by time. Random cuts never separate
near-duplicates or rows of the same group. If only `shots` rows of each class keep their labels, the other
rows of train are assigned to none of the splits.
"""

import dataclasses
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from baton import params
from baton.errors import DataError
from baton.tables import covering, label_checks, labels, near_duplicates, row_sets, row_units, shots, splits
from baton.tables.row_sets import Rows
from baton.tables.row_units import Units
from baton.tables.rows import Row
from baton.tables.target_cells import TargetCells

SPLITS = ("train", "val", "test")
SHOWN_CLASSES = 5


class Assigned(NamedTuple):
    """The rows of each split, and what became of the others."""

    parts: dict[str, Rows]  # in file order
    limited: dict[str, int]  # split -> number of rows removed by a limit
    notes: list[str]  # on targets that the cuts missed
    unlabelled: Rows  # of train, that have no labels from now on
    shots: dict[str, Any]  # figures of `shots.keep` for report.json; empty if all rows keep their labels


def part(
    rows: Rows,
    settings: params.Preprocess,
    present: set[str],
    alike: near_duplicates.Near,
    usable: Rows,
    cells: TargetCells,
) -> Assigned:
    """Cut test (if the source has none), apply limits and shots, then cut val (if the source has none).

    Args:
        rows: The rows of all files.
        settings: Portions, limits and seed.
        present: The splits that have a file.
        alike: The near-duplicates, which stay together.
        usable: `rows` plus the rows dropped by checks that compare rows, with all their names; units are
            numbered over these, see `run_checks.Checked`.
        cells: What labels mean: the names in them, and the strata by which rows are cut.

    Raises:
        DataError: A split cannot be cut or ends up without rows, or train loses a label.
    """
    numbered = row_sets.over(rows, usable)
    left = np.zeros(len(usable), np.bool_)
    left[row_sets.places_in(rows, usable)] = True
    parts: dict[str, Units] = {}
    for split in SPLITS:
        own = np.fromiter((row.part == split for row in row_sets.brief(numbered)), np.bool_, len(numbered))
        table, named = row_sets.where(numbered, own), row_sets.where(usable, own)
        parts[split] = row_units.of(table, alike, left[own], cells.strata(table), cells.strata(named))
    stay = _staying(rows, settings, present, numbered, alike, cells)
    notes: list[str] = []
    cuts = 1 - ("val" in present)
    merge = cells.names_leave  # rows have several names: a split need not have a row of each stratum
    if "test" not in present:
        whole, seed, leave = parts["train"].of_strata(stay, inside=False), settings.seed, 1 + cuts
        match settings.test:
            case params.ByShare(share=share):  # test rows remain test rows when rows are added
                parts["test"], rest = splits.cut_for_good(whole, share, seed=seed, purpose="test")
            case params.ByCount(count=wanted):
                parts["test"], rest = splits.cut(
                    whole, wanted, cells=cells, seed=seed, purpose="test", leave=leave, merge=merge
                )
        count = splits.wanted(settings.test, whole.size)
        notes += missed("test", count, whole, parts["test"], cells)
        parts["train"] = rest + parts["train"].of_strata(stay)
    limited = {split: _limit(parts, split, settings, cuts, cells) for split in ("train", "test")}
    few = None
    if settings.shots is not None:
        few = shots.keep(parts, settings.shots, seed=settings.seed, files=present)
        parts, notes = few.parts, notes + few.notes
    if "val" not in present:
        notes += _cut_validation(parts, settings, stay, bool(limited["train"]), cells)
    cut = {split: units.rows for split, units in parts.items()}
    _refuse_gaps(rows, cut, cells.names)
    if few is None:
        return Assigned(cut, limited, notes, [], {})
    free, beside = shots.unlabelled(few.left, parts["val"])
    if not isinstance(settings, params.TextPreprocess):
        notes.append(
            f"{len(free) + len(beside)} rows of train are left out: of {settings.thing}s none are used"
        )
        free = []
    return Assigned(cut, limited, notes, free, few.figures | {"left_beside_validation": len(beside)})


def _cut_validation(
    parts: dict[str, Units],
    settings: params.Preprocess,
    stay: set[str],
    limited: bool,
    cells: TargetCells,
) -> list[str]:
    """Cut val from train, except from the strata that `stay`; return notes on what the cut missed."""
    whole, kept = parts["train"].of_strata(stay, inside=False), None
    count = splits.wanted(settings.validation, parts["train"].size)
    if settings.shots is not None:
        count = shots.validation(whole, count)
    if cells.names_leave and limited:  # few rows hold all names, and some of each must stay
        kept, whole = covering.cover(whole, cells, seed=settings.seed, purpose="validation", least=1)
    parts["val"], rest = splits.cut(
        whole,
        count,
        cells=cells,
        seed=settings.seed,
        purpose="validation",
        leave=int(not (kept and len(kept))),
        merge=cells.names_leave,
    )
    if kept:
        whole, rest = whole + kept, rest + kept
    parts["train"] = rest + parts["train"].of_strata(stay)
    return missed("val", count, whole, parts["val"], cells)


def _limit(
    parts: dict[str, Units],
    split: str,
    settings: params.Preprocess,
    cuts: int,
    cells: TargetCells,
) -> int:
    """Cut a split to its limit in params, if it has one; return how many rows that removes."""
    limit, before = getattr(settings.limit, split), parts[split].size
    if limit is None or limit >= before:
        return 0
    least = 1 + cuts if split == "train" else int(limit >= len(parts[split].strata))
    how: Any = {"cells": cells, "seed": settings.seed, "purpose": f"limit.{split}", "least": least}
    if cells.names_leave and split == "train":  # which needs each name
        parts[split] = covering.limited(parts[split], limit, **how)
    else:
        parts[split], _ = splits.cut(parts[split], limit, merge=cells.names_leave, **how)
    return before - parts[split].size


def missed(split: str, count: int, whole: Units, drawn: Units, cells: TargetCells) -> list[str]:
    """Return notes on a cut of `count` rows from `whole`: a large miss, and names without any row.

    A miss is large if it exceeds both a quarter of `count` and what chance explains.
    """
    why = f": {some}" if (some := splits.largest(whole)) else ""
    return _missed(split, count, whole.rows, drawn.rows, cells, why)


def _missed(split: str, count: int, whole: Rows, drawn: Rows, cells: TargetCells, why: str) -> list[str]:
    got, of = len(drawn), len(whole)
    notes = []
    if abs(got - count) > max(0.25 * count, 3 * count**0.5):
        notes.append(f"{split} has {got} of {of} rows, where params ask for {count}{why}")
    there, before = ({*label_checks.every(rows, cells.names)} for rows in (drawn, whole))
    if absent := sorted(before - there, key=labels.order):
        more = f" and {len(absent) - SHOWN_CLASSES} more" if len(absent) > SHOWN_CLASSES else ""
        named = ", ".join(map(repr, absent[:SHOWN_CLASSES])) + more
        notes.append(
            f"{split} has no row of {named}, so nothing is known of how well these are {cells.found}{why}"
        )
    return notes


def _staying(
    rows: Rows,
    settings: params.Preprocess,
    present: set[str],
    numbered: Rows,
    alike: near_duplicates.Near,
    cells: TargetCells,
) -> set[str]:
    """Return the strata that stay in train entirely: those of small classes, if params say so."""
    if settings.checks.small_class != "train_only":
        return set()
    units = row_units.unit_of(numbered, alike)[row_sets.places_in(rows, numbered)]
    return {*label_checks.small_names(rows, needed(present), cells.names, units=units)}


def by_time(rows: Rows, settings: params.Preprocess, present: set[str]) -> tuple[Rows, set[str]]:
    """Move the latest rows of the train file to test, then to val, if params name a time column.

    Only splits without a file receive rows. Rows with the same time stay together, in the later split.

    Returns:
        The rows with their splits; the splits that no longer need cutting.

    Raises:
        DataError: No earlier row is left for train.
    """
    if not isinstance(settings, params.TextPreprocess) or settings.time_column is None:
        return rows, present
    left = np.sort(_times(rows))  # of train
    ranges: list[tuple[str, float, float]] = []  # split, its first time, and the first time after it
    end = np.inf
    for split, portion in (("test", settings.test), ("val", settings.validation)):
        if split in present or not len(left):
            continue
        if split == "val" and "test" in present:
            left, end = _before_test(rows, left)
        count = splits.wanted(portion, len(left))
        first = float(left[-min(count, len(left))])
        later = int((left >= first).sum())
        left = left[: len(left) - later]
        ranges.append((split, first, end))
        end = first
        if not len(left):
            key = "test" if split == "test" else "validation"
            got = f"{later} rows at or after the time of the {count} latest, and none earlier"
            hint = f"lower preprocess.{key}, or name a column with more distinct times"
            raise DataError(
                f"preprocess.time_column leaves no rows earlier than {split}",
                got=got,
                expected="earlier rows",
                hint=hint,
            )

    def moved(row: Row) -> Row:
        there = (split for split, first, end in ranges if first <= _time(row) < end)
        return dataclasses.replace(row, part=next(there, row.part)) if row.part == "train" else row

    return row_sets.changed(rows, moved), set(SPLITS)


def missed_by_time(
    before: Rows, after: Rows, settings: params.Preprocess, cut: set[str], cells: TargetCells
) -> list[str]:
    """Return the notes of `missed` for the splits `cut` that `by_time` cut from the rows `before`.

    Such cuts can miss because rows with the same time stay together.
    """
    if not cut:
        return []
    left = np.fromiter((row.part == "train" for row in row_sets.brief(before)), np.bool_, len(before))
    notes = list[str]()
    for split, portion in (("test", settings.test), ("val", settings.validation)):
        if split in cut:
            parts = np.fromiter((row.part == split for row in row_sets.brief(after)), np.bool_, len(after))
            whole, drawn = row_sets.where(before, left), row_sets.where(before, left & parts)
            notes += _missed(split, splits.wanted(portion, len(whole)), whole, drawn, cells, "")
            left &= ~parts
    return notes


def _before_test(rows: Rows, left: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Return the times of train rows earlier than the test file, and when it starts.

    The others may not stay in train (`time_leakage`).
    """
    tests = ((_time(row), row.id) for row in row_sets.brief(rows) if row.part == "test")
    if (start := min(tests, default=None)) is None:
        return left, np.inf
    earlier = left[left < start[0]]
    if not len(earlier):
        got, hint = (
            f"the earliest test row is {start[1]}",
            "name a later test file in source, or none: test is then cut by time",
        )
        raise DataError(
            "no train row is earlier than the test file", got=got, expected="earlier rows", hint=hint
        )
    return earlier, start[0]


def _times(rows: Rows) -> NDArray[np.float64]:
    return np.fromiter((_time(row) for row in row_sets.brief(rows) if row.part == "train"), np.float64)


def _time(row: Row) -> float:
    assert row.extras.time is not None, "a row without a time is malformed"
    return row.extras.time


def needed(present: set[str]) -> int:
    """Return how many distinct texts a class needs: one for each split cut from train, and one to stay."""
    return 1 + len({"val", "test"} - present)


def _refuse_gaps(rows: Rows, parts: dict[str, Rows], names: label_checks.Names) -> None:
    lost = {name for row in row_sets.brief(rows) if row.part == "train" for name in names(row.label)}
    lost -= {*label_checks.every(parts["train"], names)}
    if lost:
        hint = "duplicates, near-duplicates and rows of one group stay together regardless of their labels: "
        hint += "set preprocess.checks.conflict or small_class to drop, or choose another preprocess.seed"
        raise DataError(
            "cutting the splits leaves labels without any train row",
            got=sorted(lost),
            expected="none",
            hint=hint,
        )
    for split, part in parts.items():
        if not part:
            hint = "check the file, and which rows preprocess.checks drops"
            raise DataError(f"split {split} has no rows left", got="0 rows", expected="at least 1", hint=hint)
