"""Cuts are exact in number, stratified, seeded, independent of order, and never separate equal texts."""

import random
from collections import Counter
from typing import Any

import pytest

from baton import params
from baton.errors import DataError
from baton.tables import near_duplicates, row_units, splits, text_key
from baton.tables.class_cells import ClassCells
from baton.tables.rows import Row


def table(counts: dict[str, int], repeat: int = 1) -> list[Row]:
    """Return `counts[label]` texts of each label, each repeated `repeat` times, shuffled."""
    texts = [
        (f"{label} text {number}", label)
        for label, count in counts.items()
        for number in range(count)
        for _ in range(repeat)
    ]
    random.Random(0).shuffle(texts)
    return [Row("train", number, text, label) for number, (text, label) in enumerate(texts, start=1)]


def labels(rows: list[Row]) -> Counter[str]:
    return Counter(row.label for row in rows)


def cut(rows: list[Row], count: int, **settings: Any) -> tuple[list[Row], list[Row]]:
    drawn, left = splits.cut(row_units.of(rows), count, cells=ClassCells(), **settings)
    return drawn.rows, left.rows


def cut_for_good(
    rows: list[Row], share: float, seed: int = 0, alike: near_duplicates.Near | None = None
) -> tuple[list[Row], list[Row]]:
    drawn, left = splits.cut_for_good(row_units.of(rows, alike), share, seed=seed, purpose="test")
    return drawn.rows, left.rows


def test_a_cut_is_exact_and_proportional_and_keeps_the_order() -> None:
    rows = table({"big": 700, "middle": 250, "small": 49, "tiny": 2})
    drawn, left = cut(rows, 100, seed=0, purpose="validation", leave=1)
    assert labels(drawn) == {"big": 70, "middle": 25, "small": 4, "tiny": 1}
    assert sorted([*drawn, *left], key=lambda row: row.number) == rows
    assert [row.number for row in drawn] == sorted(row.number for row in drawn)


def test_the_seed_and_the_purpose_decide_and_nothing_else() -> None:
    rows = table({"a": 60, "b": 40})

    def drawn(rows: list[Row], seed: int = 0, purpose: str = "validation") -> set[str]:
        return {row.text for row in cut(rows, 20, seed=seed, purpose=purpose)[0]}

    assert drawn(rows) == drawn(rows[::-1])
    assert drawn(rows) != drawn(rows, seed=1)
    assert drawn(rows) != drawn(rows, purpose="test")
    fewer = [row for row in rows if row.text != "a text 59"]
    assert len(drawn(rows) ^ drawn(fewer)) <= 2, "removing a row moves no other"


def test_equal_texts_stay_together() -> None:
    rows = table({"a": 40, "b": 20}, repeat=3)
    for number, row in enumerate(rows):
        row.text = f" {row.text.upper()}" if number % 2 else row.text
    drawn, left = cut(rows, 18, seed=0, purpose="validation", leave=1)
    assert {text_key.key(row.text) for row in drawn}.isdisjoint(text_key.key(row.text) for row in left)
    assert labels(drawn) == {"a": 12, "b": 6}


def test_a_group_that_is_larger_than_the_quota_is_taken_rather_than_none() -> None:
    drawn, left = cut(table({"a": 2, "b": 2}, repeat=5), 2, seed=0, purpose="validation", leave=1)
    assert labels(drawn) == labels(left) == {"a": 5, "b": 5}


def test_a_class_that_can_spare_nothing_stays_whole() -> None:
    drawn, left = cut(table({"a": 50, "single": 1}), 10, seed=0, purpose="validation", leave=1)
    assert labels(drawn) == {"a": 10}
    assert labels(left) == {"a": 40, "single": 1}


def test_a_limit_leaves_each_class_enough_to_be_cut() -> None:
    drawn, _ = cut(table({"a": 1000, "b": 10, "c": 2}), 20, seed=0, purpose="limit.train", least=2)
    assert labels(drawn) == {"a": 16, "b": 2, "c": 2}


@pytest.mark.parametrize(
    ("count", "message"),
    [
        (2, r"preprocess.validation is too small.*got: +2 rows for 3 classes.*at least 3"),
        (31, r"leaves too few rows.*got: +31 of 33.*at most 30"),
    ],
)
def test_impossible_cuts_say_what_is_possible(count: int, message: str) -> None:
    rows = table({"a": 11, "b": 11, "c": 11})
    with pytest.raises(DataError, match=rf"(?s){message}.*next:"):
        cut(rows, count, seed=0, purpose="validation", leave=1)
    assert len(cut(rows, 3, seed=0, purpose="validation", leave=1)[0]) == 3
    assert len(cut(rows, 30, seed=0, purpose="validation", leave=1)[0]) == 30


def test_portions() -> None:
    assert splits.wanted(params.ByShare(kind="share", share=0.1), 5423) == 542
    assert splits.wanted(params.ByShare(kind="share", share=0.1), 3) == 1
    assert splits.wanted(params.ByCount(kind="count", count=7), 5423) == 7


LATE = {  # how a table may grow: label of the next row
    "at random": lambda random_, number: random_.choice("aaaaabbbcd"),
    "class after class": lambda _, number: "abcd"[min(number // 60, 3)],
    "in turn": lambda _, number: "abcd"[number % 4],
}


@pytest.mark.parametrize("share", [0.1, 0.2, 1 / 3, 0.5, 0.7])
@pytest.mark.parametrize("order", list(LATE))
def test_a_growing_table_moves_no_row_and_stays_stratified(share: float, order: str) -> None:
    """Grow a table step by step, over two seeds.

    A row in test stays in test and a row in train stays in train. Each class is within one of its share (two
    for a share above a half) while it has at most `IN_BLOCKS` texts.
    """
    for seed in range(2):
        random_ = random.Random(f"{seed}")
        rows: list[Row] = []
        seen: list[Row] = []
        before: set[str] = set()
        for number in range(240):
            if rows and random_.random() < 0.1:  # the same text again
                rows.append(
                    Row("train", number + 1, random_.choice(rows).text.upper(), random_.choice("abcd"))
                )
            else:
                rows.append(Row("train", number + 1, f"text {number}", LATE[order](random_, number)))
            if random_.random() > 0.3:  # several arrive at once
                continue
            units = row_units.of(rows)
            drawn, _ = splits.cut_for_good(units, share, seed=seed, purpose="test")
            ids = {row.id for row in drawn.rows}
            assert {row.id for row in seen} & ids == before, "only new rows may be added"
            before, seen = ids, list(rows)
            test = Counter(unit.stratum for unit in drawn)
            for label, count in Counter(unit.stratum for unit in units).items():
                if count <= splits.IN_BLOCKS:
                    assert abs(test[label] - share * count) <= (1 if share <= 0.5 else 2), (label, count)
                if count >= 3:
                    assert 1 <= test[label] < count


def test_three_classes_of_twenty_rows_give_four_each() -> None:
    """A draw by row digests gave 2, 6 and 7 for the table of the issue. Places differ by seed and class."""
    rows = table({"a": 20, "b": 20, "c": 20})
    draws = set()
    for seed in range(50):
        test, train = cut_for_good(rows, 0.2, seed)
        assert labels(test) == {"a": 4, "b": 4, "c": 4} and labels(train) == {"a": 16, "b": 16, "c": 16}
        draws.add(tuple(row.number for row in test))
    assert len(draws) == 50


def test_each_row_of_a_block_is_drawn_as_often() -> None:
    """Over seeds, each place after the first block is drawn 1 in 5 times.

    The binomial counts must lie within five standard deviations.
    """
    rows, seeds = table({"a": 50}), 1000
    counts = Counter(row.number for seed in range(seeds) for row in cut_for_good(rows, 0.2, seed)[0])
    for number in range(6, 51):
        assert abs(counts[number] - seeds * 0.2) < 5 * (seeds * 0.2 * 0.8) ** 0.5


def test_large_classes_are_drawn_by_digest_whatever_the_order_of_the_file() -> None:
    """As the control, in a smaller class, drawn only in blocks, another order draws other rows."""
    for count, same in ((5000, True), (100, False)):
        rows = table({"a": count})
        moved = [Row("train", number, row.text, row.label) for number, row in enumerate(rows[::-1], start=1)]
        one, other = ({row.text for row in cut_for_good(some, 0.2)[0]} for some in (rows, moved))
        assert abs(len(one) - count / 5) < 5 * (count * 0.16) ** 0.5
        assert (len(one ^ other) <= 0.02 * count) is same, "at most the first hundred of either order"


def test_rows_that_come_later_move_none_from_one_part_to_the_other() -> None:
    """As the control, a cut by count moves some rows that a champion was trained on."""
    rows = table({"a": 660, "b": 440, "c": 22})
    few = rows[:1000]

    def drawn(rows: list[Row], stable: bool) -> set[str]:
        part = (
            cut_for_good(rows, 0.2)[0]
            if stable
            else cut(rows, round(0.2 * len(rows)), seed=0, purpose="test", leave=2)[0]
        )
        return {row.text for row in part}

    before = {row.text for row in few}
    for stable in (True, False):
        assert (drawn(rows, stable) & before == drawn(few, stable)) == stable
    test, train = cut_for_good(few, 0.2)
    assert 150 < len(test) < 250 and {row.text for row in test}.isdisjoint(row.text for row in train)
    tiny = table({"a": 50, "b": 3, "c": 1})
    assert labels(cut_for_good(tiny, 0.001)[0]) == {"a": 1, "b": 1}
    assert labels(cut_for_good(tiny, 0.999)[1]) == {"a": 2, "b": 2, "c": 1}


def test_near_texts_stay_together_and_a_row_between_two_units_takes_none_out_of_test() -> None:
    rows = table({"a": 60, "b": 60})
    keys = [text_key.key(row.text) for row in rows]
    alike: near_duplicates.Near = {
        keys[-1]: {keys[3]: 0.9, keys[40]: 0.8},
        keys[3]: {keys[-1]: 0.9},
        keys[40]: {keys[-1]: 0.8},
    }
    for seed in range(20):
        before = {row.id for row in cut_for_good(rows[:-1], 0.2, seed, alike)[0]}
        after = {row.id for row in cut_for_good(rows, 0.2, seed, alike)[0]}
        joined = {rows[place].id for place in (3, 40, -1)}
        assert joined <= after or joined.isdisjoint(after)
        assert before <= after and after - before <= joined
        units = row_units.of(rows, alike)
        drawn, left = splits.cut(units, 30, cells=ClassCells(), seed=seed, purpose="validation", leave=1)
        assert joined <= {row.id for row in drawn.rows} or joined <= {row.id for row in left.rows}
