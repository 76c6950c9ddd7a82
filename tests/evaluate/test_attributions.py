"""Which answers are explained, which words count as the strongest, and what the tables hold."""

import math

import numpy as np
import pytest

from baton.contracts.task_spec import Classes, Labels, Numbers
from baton.evaluate import attributions
from baton.evaluate.attributions import Answer, Explained
from baton.evaluate.baselines import Outputs
from baton.evaluate.inputs import Rows
from baton.evaluate.label_outputs import LabelOutputs
from baton.tasks import metrics

NAN = math.nan


def rows(targets: object, count: int) -> Rows:
    return Rows([f"test:{row + 1}" for row in range(count)], ["a text"] * count, np.asarray(targets))


def test_errors_come_most_confident_first_with_as_many_right_answers() -> None:
    log_p = metrics.log_probabilities(np.float32([[2, 0], [0, 9], [0, 3], [0, 5], [4, 0], [6, 0], [1, 0]]))
    test = rows([0, 0, 0, 1, 0, 0, 0], 7)
    spec, outputs = Classes(("a", "b")), Outputs(log_p.argmax(axis=1), log_p)
    found = attributions.answers(spec, test, outputs, 2)
    assert found[:2] == [Answer(1, 1, True, False), Answer(2, 1, True, False)]
    assert len(found) == 4 and all(one.right and one.given for one in found[2:])
    assert {one.row for one in found[2:]} <= {0, 3, 4, 5, 6}
    assert found == attributions.answers(spec, test, outputs, 2)
    assert len(attributions.answers(spec, test, outputs, 9)) == 4, "two errors"
    assert attributions.answers(spec, rows(log_p.argmax(axis=1), 7), outputs, 9) == []


def test_of_several_labels_the_surest_decision_is_explained() -> None:
    logits = np.array([[3.0, -1.0, 1.0], [-4.0, 2.0, -1.0], [2.0, 3.0, -1.0], [-3.0, -3.0, -3.0]])
    test = rows([[1, 0, 0], [1, 1, 0], [1, 1, 0], [0, 0, 0]], 4)
    found = attributions.answers(Labels(("a", "b", "c")), test, LabelOutputs(logits), 5)
    assert found == [
        Answer(1, 0, False, False),  # a is missing, of which the model is surer than of c in the first row
        Answer(0, 2, True, False),
        Answer(2, 1, True, True),  # of the rows that are right and have labels, the likeliest label
    ]


def test_other_tasks_have_none() -> None:
    assert attributions.answers(Numbers(("x",), (0.0,), (1.0,), "mse", 0.9), rows([[0.0]], 1), None, 3) == []


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([3, 1, 2, 0, 0, -9, 0, 0, 0, 0], [0, 2]),
        ([NAN, 1, 2, NAN, NAN], [2]),
        ([0.0, -1.0, -2.0], []),
        ([5.0], [0]),
        ([NAN], []),
        ([], []),
        ([1, 1, 1, 1, 1], [0]),
    ],
)
def test_the_strongest_words_are_a_fifth_of_those_that_are_read(
    scores: list[float], expected: list[int]
) -> None:
    assert np.flatnonzero(attributions.strongest(np.array(scores, np.float64))).tolist() == expected


def test_tables_have_the_words_of_errors_and_the_test_of_all() -> None:
    scores = np.array([0.5, NAN, -0.25, NAN])
    wrong = Explained(
        Answer(0, 1, False, False), ["a", "b", "c", "d"], ["", "\n ", "-", " "], scores, 0.9, 0.2, 0.8
    )
    right = Explained(Answer(1, 0, True, True), ["a"], [""], np.array([1.0]), 0.8, 0.3, 0.4)
    made = attributions.tables([wrong, right], "student", ["test:1", "test:2"], ["x", "y"])
    columns, words = made["attributions.csv"]
    listed = [dict(zip(columns, line, strict=True)) for line in words]
    assert [line["word"] for line in listed] == ["a", "b", "c"], "up to the last that is read"
    assert [line["before"] for line in listed] == ["", " ", "-"]
    assert [line["marked"] for line in listed] == [1, 0, 0]
    assert {line["answer"] for line in listed} == {"not y"}
    _, tested = made["deletion.csv"]
    assert list(tested) == [
        ["student", "test:1", "not y", 0, 2, 1, 0.9, 0.2, 0.8],
        ["student", "test:2", "x", 1, 1, 1, 0.8, 0.3, 0.4],
    ]
    assert attributions.tables([], "student", [], []) == {}
