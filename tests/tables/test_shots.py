"""Shots keep exactly k rows of each class: nested, seeded, independent of the order of rows, and noted."""

import itertools
import random
from collections import Counter

import pytest

from baton.tables import row_units, shots
from baton.tables.row_units import Units
from baton.tables.rows import Extras, Row


def table(groups: int = 0, **counts: int) -> list[Row]:
    """Return `counts[label]` rows of each label, shuffled, each of one of the `groups` (0: of none)."""
    texts = [(f"{label} text {number}", label) for label, count in counts.items() for number in range(count)]
    random.Random(0).shuffle(texts)
    return [
        Row("train", number, text, label, Extras(group=f"g{number % groups}" if groups else ""))
        for number, (text, label) in enumerate(texts, start=1)
    ]


def drawn(units: Units, count: int, seed: int = 0) -> set[str]:
    return {row.text for unit in shots.draw(units, count, seed=seed, purpose="shots")[0] for row in unit.rows}


def test_each_class_keeps_as_many_rows_and_a_smaller_one_all() -> None:
    rows = table(a=300, b=40, c=5)
    kept, left = shots.draw(row_units.of(rows), 8, seed=0, purpose="shots")
    assert Counter(row.label for row in kept.rows) == {"a": 8, "b": 8, "c": 5}
    assert sorted([*kept.rows, *left.rows], key=lambda row: row.number) == rows
    assert [unit.name for unit in kept] == [unit.name for unit in row_units.of(rows) if unit in kept]


@pytest.mark.parametrize("groups", [0, 7, 40])
def test_fewer_rows_are_among_more_rows_of_the_same_seed(groups: int) -> None:
    units = row_units.of(table(groups, a=200, b=60, c=9))
    sizes = [2, 3, 4, 8, 16, 32, 128, 500]
    for seed in range(3):
        nested = [drawn(units, count, seed) for count in sizes]
        assert all(fewer < more for fewer, more in itertools.pairwise(nested))
    assert drawn(units, 8) != drawn(units, 8, seed=1)


def test_the_rows_decide_and_not_their_order() -> None:
    rows = table(a=50, b=50)
    assert drawn(row_units.of(rows), 8) == drawn(row_units.of(rows[::-1]), 8)
    fewer = [row for row in rows if row.text not in drawn(row_units.of(rows), 8)][10:]
    fewer += [row for row in rows if row.text in drawn(row_units.of(rows), 8)]
    assert drawn(row_units.of(fewer), 8) == drawn(row_units.of(rows), 8), "other rows do not move a drawn one"


def test_rows_are_of_as_many_groups_as_there_are() -> None:
    """A group with many rows is one case: the largest would otherwise fill the draw alone."""
    rows = [
        Row("train", 2 * n + place, f"{label} {n}", label, Extras(group=f"{label}{n // 20}"))
        for n in range(100)
        for place, label in enumerate("ab")
    ]
    kept, left = shots.draw(row_units.of(rows), 3, seed=0, purpose="shots")
    assert Counter(unit.stratum for unit in kept) == {"a": 3, "b": 3}
    assert all(len(unit) == 1 for unit in kept)
    assert {unit.name for unit in kept} < {unit.name for unit in left}, "a unit may have rows in both"
    kept, _ = shots.draw(row_units.of(rows), 7, seed=0, purpose="shots")
    assert Counter(len(unit) for unit in kept) == {1: 2 * 3, 2: 2 * 2}


def test_a_unit_of_two_classes_counts_for_both() -> None:
    rows = [
        Row("train", 2 * n + place, f"text {n}", label)
        for n in range(30)
        for place, label in enumerate("ab", start=1)
    ]
    kept, left = shots.draw(row_units.of(rows), 4, seed=0, purpose="shots")
    assert Counter(row.label for row in kept.rows) == {"a": 4, "b": 4}
    assert len(kept) == 4 and not {unit.name for unit in kept} & {unit.name for unit in left}


def test_classes_with_fewer_rows_are_named_in_one_note() -> None:
    parts = {split: row_units.of(table(a=30, b=3, c=1)) for split in ("train", "val", "test")}
    kept = shots.keep(parts, 8, seed=0, files=["train", "test"])
    assert kept.notes == ["preprocess.shots is 8, but train has fewer rows of 'b' (3), 'c' (1): all are kept"]
    assert kept.figures == {
        "rows_of_class": 8,
        "train": {"kept": 12, "left": 22, "smaller_classes": {"b": 3, "c": 1}},
    }
    assert (kept.parts["val"], kept.parts["test"]) == (parts["val"], parts["test"])
    assert sum(map(len, kept.left)) == 22


def test_a_validation_file_is_cut_to_as_many_rows_of_each_class() -> None:
    parts = {split: row_units.of(table(a=30, b=20)) for split in ("train", "val", "test")}
    kept = shots.keep(parts, 8, seed=0, files=["train", "val", "test"])
    assert [sum(map(len, kept.parts[split])) for split in ("train", "val", "test")] == [16, 16, 50]
    assert kept.figures["val"] == {"kept": 16, "left": 34, "smaller_classes": {}}
    assert (
        "applies to val too, which is not cut from these rows: 16 of its 50 rows are kept, 8 of each class"
        in kept.notes[0]
    )
    own = [{row.text for row in kept.parts[split].rows} for split in ("train", "val")]
    assert own[0] != own[1], "the draws are independent"


def test_validation_gets_a_row_of_each_class_that_can_spare_one() -> None:
    units = row_units.of(table(a=2, b=2, c=2, d=1))
    assert shots.validation(units, 1) == 3
    assert shots.validation(units, 4) == 4


def test_rows_next_to_those_of_validation_are_nothing_to_learn_from() -> None:
    rows = table(groups=5, a=20, b=20)
    kept, left = shots.draw(row_units.of(rows), 3, seed=0, purpose="shots")
    unlabelled, beside = shots.unlabelled(left, kept[:2])
    groups = {row.extras.group for row in kept[:2].rows}
    assert groups and {row.extras.group for row in beside} == groups
    assert {row.extras.group for row in unlabelled} == {f"g{n}" for n in range(5)} - groups
    assert len(unlabelled) + len(beside) == 34
