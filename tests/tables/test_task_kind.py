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
        (["1", "2", "3"] * 20, CLASSES, "only 3 different numbers in 60 rows"),
        ([1.0, 2.5, None] * 20, CLASSES, "only 2 different numbers"),
        ([n / 7 for n in range(50)], "numbers", "different decimal numbers"),
        ([f"{n / 7:.3f}" for n in range(50)], "numbers", "different decimal numbers"),
        (list(range(1000)), "numbers", "1,000 different numbers"),
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


@pytest.mark.parametrize(
    ("values", "message"),
    [([None, "", float("nan")], "has no values"), (SENTENCES, "texts that differ from row to row")],
)
def test_a_column_that_is_for_no_known_kind_is_named(values: list[Any], message: str) -> None:
    with pytest.raises(DataError, match=rf"(?s){message}.*got:.*expected:.*next:"):
        infer(values, "label")
