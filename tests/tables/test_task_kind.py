"""What a label column is for, by its cells."""

from typing import Any

import pytest

from baton.errors import DataError
from baton.tables.task_kind import infer

CLASSES = {"kind": "classes"}
SENTENCES = [f"This is a sentence about the thing number {n}." for n in range(50)]


@pytest.mark.parametrize(
    ("values", "task", "reason"),
    [
        (["spam", "ham"] * 20, CLASSES, "2 different names in 40 rows"),
        (["1", "2", "3"] * 20, CLASSES, "only 3 different whole numbers in 60 rows"),
        (["1", "2", "-", "n/a"] * 20, CLASSES, "whole numbers in 40 rows (1, 2); 40 others, such as '-'"),
        (["1", "2", "other"] * 20, CLASSES, "3 different names"),
        (["+", "-"] * 20, CLASSES, "2 different names"),
        ([n / 7 for n in range(50)], "numbers", "different decimal numbers"),
        ([f"{n / 7:.3f}" for n in range(50)], "numbers", "different decimal numbers"),
        ([f"{n / 7:.3f}" for n in range(50)] + ["n/a"], "numbers", "; 1 other, such as 'n/a'"),
        ([*(n / 7 for n in range(50)), None, "-", "?"], "numbers", "; 2 others, such as '-'"),
        ([["a", "b"], [], ["b"], None] * 9, {"kind": "labels", "separator": None}, "27 of 27 cells"),
        (['["a", "b"]', "[]", '["b"]'] * 9, {"kind": "labels", "separator": None}, "written as JSON"),
        (["a|b", "b", "c|b", "a|c"] * 9, {"kind": "labels", "separator": "|"}, "3 different names in 4"),
        (["a, b", "b", "c, b", "a, c, b"] * 9, {"kind": "labels", "separator": ","}, "join names with ','"),
        (["New York, US", "Paris, FR", "Rome, IT"] * 9, CLASSES, "3 different names"),
        (["a;b"] * 20 + ["c"] * 20, CLASSES, "2 different names"),
        ([b"spam", b"ham"] * 20, CLASSES, "2 different names"),
        (["It is a rather long name of a class"] * 20 + ["x"] * 20, CLASSES, "2 different names"),
        (["nan", "inf", "1"] * 9, CLASSES, "3 different names"),
        ([["B-PER", "O"], ["O"], []] * 9, {"kind": "tokens", "words": "space"}, "18 of 27 cells"),
        ([["B-PER", "O"], [], [], []] * 9, {"kind": "tokens", "words": "space"}, "9 of 36 cells"),
        (['["S-X"]', "[]", '["O"]'] * 9, {"kind": "tokens", "words": "space"}, "lists of tags"),
        (
            [[{"start": 0, "end": 2, "label": "X"}], [], [{"start": 0, "end": 2, "label": "Y"}]] * 9,
            {"kind": "tokens", "words": "pattern"},
            "lists of start, end, label",
        ),
        (
            [[{"text": "a", "answer_start": 3}], []] * 9,
            {"kind": "spans", "max_answer_words": 30},
            "9 of 18 cells of 'label' hold text and answer_start of answers",
        ),
        ([{"text": ["a"], "answer_start": [3]}, {"text": [], "answer_start": []}] * 9, "spans", "9 of 18"),
        (['{"text": ["a"], "answer_start": [3]}', "[]"] * 9, "spans", "9 of 18"),
    ],
)
def test_the_cells_decide(values: list[Any], task: dict[str, Any] | str, reason: str) -> None:
    found = infer(values, "label")
    assert found.task == task if isinstance(task, dict) else found.task["kind"] == task
    assert reason in found.reason


WROTE_NUMBERS = "`task: {kind: numbers, loss: smooth_l1, coverage: 0.9}` if they"
WROTE_CLASSES = "`task: {kind: classes}` if each"
AUTHORS = [
    f"{last}, {first}" for last in ("Smith", "Jones", "Brown") for first in ("Ann", "Bob", "Eve", "Tom")
]


@pytest.mark.parametrize(
    ("values", "seen", "readings"),
    [
        (
            list(range(1000)),
            "1,000 different whole numbers",
            (WROTE_NUMBERS, WROTE_CLASSES, "number the rows"),
        ),
        ([n % 120 for n in range(600)], "120 different whole numbers in 600", (WROTE_NUMBERS, WROTE_CLASSES)),
        ([1.0, 2.5, None] * 20, "2 different decimal numbers in 40", (WROTE_NUMBERS, WROTE_CLASSES)),
        (["1", "2", "3"], "3 different whole numbers in 3", (WROTE_NUMBERS, WROTE_CLASSES)),
        (
            [f"{n / 7:.3f}" for n in range(50)] + ["broken"],
            "1 other, such as 'broken'",
            (WROTE_NUMBERS, "rows without a number count as malformed", WROTE_CLASSES),
        ),
        (
            [f"{n},{n % 10}" for n in range(50)] + ["7"],
            "50 of 51 cells are numbers with a comma (0,0, 1,1, 2,2, …)",
            ("with a decimal point", '`task: {kind: labels, separator: ","}`', WROTE_CLASSES),
        ),
        (["1.234,5", "2,5"] * 9, "numbers with a comma", ("with a decimal point",)),
        (["1,234", "12,345,678"] * 9, "numbers with a comma", ("with a decimal point",)),
        (
            AUTHORS * 9,
            "7 different names in 12 different cells; names before a comma are not after one",
            ('`task: {kind: labels, separator: ","}` if a cell joins', WROTE_CLASSES),
        ),
        ([f"id-{n}" for n in range(50)], "50 different names in 50", ("identify the rows", "sequence-csv")),
        (SENTENCES, "of 9 words on average", ("identify the rows", "recipes/sequence-csv.yaml")),
    ],
)
def test_cells_that_are_read_in_two_ways_are_not_guessed_at(
    values: list[Any], seen: str, readings: tuple[str, ...]
) -> None:
    with pytest.raises(DataError, match=r"(?s)got:.*expected:.*next:") as caught:
        infer(values, "label", "recipes/own.yaml")
    message = str(caught.value)
    for part in (seen, "write into recipes/own.yaml", *readings):
        assert part in message


@pytest.mark.parametrize(
    ("values", "otherwise"),
    [
        (["1", "2", "3"] * 20, WROTE_NUMBERS),
        ([n / 7 for n in range(50)], WROTE_CLASSES),
        (["a|b", "b", "c|b", "a|c"] * 9, WROTE_CLASSES),
    ],
)
def test_the_reason_comes_with_how_to_say_otherwise(values: list[Any], otherwise: str) -> None:
    assert infer(values, "label").otherwise.startswith(otherwise)


@pytest.mark.parametrize("values", [[None, "", float("nan")], ["n/a", "NaN"] * 9])
def test_a_column_without_values_is_named(values: list[Any]) -> None:
    with pytest.raises(DataError, match=r"(?s)has no values.*got:.*expected:.*next:"):
        infer(values, "label")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([[0, 1, 0], [1, 0, 0]] * 9, "holds lists of numbers"),
        (["[0, 1, 0]", "[1, 0, 0]"] * 9, "holds lists of numbers"),
        ([[0.1, 1.2], [0.3, 2.5]] * 9, "holds lists of numbers"),
        (["['red', 'green']", "['red']"] * 9, "lists that are not JSON"),
        (["[0 1 0]", "[1 0 0]"] * 9, "lists that are not JSON"),
    ],
)
def test_lists_that_are_no_names_are_not_guessed_at(values: list[Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        infer(values, "target")


def test_lists_of_numbered_labels_are_labels() -> None:
    assert infer([[3], [1, 7], []] * 9, "target").task == {"kind": "labels", "separator": None}
