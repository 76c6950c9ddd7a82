"""Cuts: exact in number, stratified, seeded, independent of order, never through a group of equal texts."""

import random
from collections import Counter

import pytest

from baton import params
from baton.data import splits
from baton.data.raw import Row
from baton.errors import DataError


def table(counts: dict[str, int], repeat: int = 1) -> list[Row]:
    """`counts[label]` texts of each label, each `repeat` times, shuffled."""
    texts = [(f"{label} text {number}", label) for label, count in counts.items() for number in range(count) for _ in range(repeat)]
    random.Random(0).shuffle(texts)
    return [Row("train", number, text, label) for number, (text, label) in enumerate(texts, start=1)]


def labels(rows: list[Row]) -> Counter[str]:
    return Counter(row.label for row in rows)


def test_a_cut_is_exact_and_proportional_and_keeps_the_order() -> None:
    rows = table({"big": 700, "middle": 250, "small": 49, "tiny": 2})
    drawn, left = splits.cut(rows, 100, seed=0, purpose="validation", leave=1)
    assert labels(drawn) == {"big": 70, "middle": 25, "small": 4, "tiny": 1}
    assert sorted([*drawn, *left], key=lambda row: row.number) == rows
    assert [row.number for row in drawn] == sorted(row.number for row in drawn)


def test_the_seed_and_the_purpose_decide_and_nothing_else() -> None:
    rows = table({"a": 60, "b": 40})

    def drawn(rows: list[Row], seed: int = 0, purpose: str = "validation") -> set[str]:
        return {row.text for row in splits.cut(rows, 20, seed=seed, purpose=purpose)[0]}

    assert drawn(rows) == drawn(rows[::-1])
    assert drawn(rows) != drawn(rows, seed=1)
    assert drawn(rows) != drawn(rows, purpose="test")
    fewer = [row for row in rows if row.text != "a text 59"]
    assert len(drawn(rows) ^ drawn(fewer)) <= 2, "a row less moves no other"


def test_equal_texts_stay_together() -> None:
    rows = table({"a": 40, "b": 20}, repeat=3)
    for number, row in enumerate(rows):
        row.text = f" {row.text.upper()}" if number % 2 else row.text
    drawn, left = splits.cut(rows, 18, seed=0, purpose="validation", leave=1)
    assert {splits.key(row.text) for row in drawn}.isdisjoint(splits.key(row.text) for row in left)
    assert labels(drawn) == {"a": 12, "b": 6}


def test_a_group_that_is_larger_than_the_quota_is_taken_rather_than_none() -> None:
    drawn, left = splits.cut(table({"a": 2, "b": 2}, repeat=5), 2, seed=0, purpose="validation", leave=1)
    assert labels(drawn) == labels(left) == {"a": 5, "b": 5}


def test_a_class_that_can_spare_nothing_stays_whole() -> None:
    drawn, left = splits.cut(table({"a": 50, "single": 1}), 10, seed=0, purpose="validation", leave=1)
    assert labels(drawn) == {"a": 10}
    assert labels(left) == {"a": 40, "single": 1}


def test_a_limit_leaves_each_class_enough_to_be_cut() -> None:
    drawn, _ = splits.cut(table({"a": 1000, "b": 10, "c": 2}), 20, seed=0, purpose="limit.train", least=2)
    assert labels(drawn) == {"a": 16, "b": 2, "c": 2}


@pytest.mark.parametrize(
    ("count", "message"),
    [
        (2, r"preprocess.validation is too small.*got: +2 rows for 3 classes.*at least 3"),
        (31, r"leaves too little.*got: +31 of 33.*at most 30"),
    ],
)
def test_impossible_cuts_say_what_is_possible(count: int, message: str) -> None:
    rows = table({"a": 11, "b": 11, "c": 11})
    with pytest.raises(DataError, match=rf"(?s){message}.*next:"):
        splits.cut(rows, count, seed=0, purpose="validation", leave=1)
    assert len(splits.cut(rows, 3, seed=0, purpose="validation", leave=1)[0]) == 3
    assert len(splits.cut(rows, 30, seed=0, purpose="validation", leave=1)[0]) == 30


def test_portions() -> None:
    assert splits.wanted(params.ByShare(kind="share", share=0.1), 5423) == 542
    assert splits.wanted(params.ByShare(kind="share", share=0.1), 3) == 1
    assert splits.wanted(params.ByCount(kind="count", count=7), 5423) == 7


def test_rows_that_come_later_move_none_from_one_part_to_the_other() -> None:
    """The control: a cut by number moves some, whose texts a champion was trained on."""

    def drawn(rows: list[Row], stable: bool) -> set[str]:
        if stable:
            return {row.text for row in splits.cut_for_good(rows, 0.2, seed=0, purpose="test")[0]}
        return {row.text for row in splits.cut(rows, round(0.2 * len(rows)), seed=0, purpose="test", leave=2)[0]}

    few, more = table({"a": 600, "b": 380, "c": 20}), table({"a": 660, "b": 440, "c": 22})
    before = {row.text for row in few}
    for stable in (True, False):
        assert (drawn(more, stable) & before == drawn(few, stable)) == stable
    test, train = splits.cut_for_good(few, 0.2, seed=0, purpose="test")
    assert 150 < len(test) < 250 and {row.text for row in test}.isdisjoint(row.text for row in train)
    tiny = table({"a": 50, "b": 3, "c": 1})
    assert labels(splits.cut_for_good(tiny, 0.001, seed=0, purpose="test")[0]) == {"a": 1, "b": 1}
    assert labels(splits.cut_for_good(tiny, 0.999, seed=0, purpose="test")[1]) == {"a": 1, "b": 1, "c": 1}
