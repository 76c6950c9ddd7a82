"""When two answers are the same, and how much worse an export may be."""

import json
from typing import Any

import numpy as np
import pytest

from baton import params
from baton.contracts.ragged import Ragged
from baton.contracts.task_spec import Labels, Numbers, TaskSpec, Tokens
from baton.evaluate import task_reports
from baton.export import choice
from baton.export.parity import Reference
from tests import tiny
from tests.export.test_stage import SETTINGS

LIMITS = params.Export.model_validate_json(json.dumps(SETTINGS))
NUMBERS = Numbers(("price",), (100.0,), (10.0,), "mse", 0.9)


def reference(
    task: TaskSpec, logits: Any, targets: Any, fitted: dict[str, Any], texts: Any = ()
) -> Reference:
    return Reference(task_reports.of(task), targets, logits, fitted, texts)


def test_classes_are_the_same_if_the_same_one_is_named() -> None:
    logits = np.eye(3, dtype=np.float32)
    own = reference(tiny.TASK, logits, np.arange(3), {"temperature": 1.0})
    assert own.same(5 * logits) == 1 and own.difference(5 * logits) == 4
    assert own.same(logits[[1, 1, 2]]) == pytest.approx(2 / 3)


def test_labels_are_the_same_if_all_are() -> None:
    logits = np.array([[3, -3], [3, 3], [-3, -3]], np.float32)
    own = reference(Labels(("a", "b")), logits, logits > 0, {"temperature": 1.0, "thresholds": [0.5, 0.5]})
    other = logits.copy()
    other[1, 1] = -3
    assert own.same(logits) == 1 and own.same(other) == pytest.approx(2 / 3)


def test_entities_are_the_same_only_at_the_same_place() -> None:
    """The types alone, which the drift report counts, would be the same."""
    task = Tokens(("good",), "space")  # tags: O, B, I
    tags = np.array([1, 0, 0, 0, 1])

    def logits(tags: Any) -> Ragged:
        return Ragged(4 * np.eye(3, dtype=np.float32)[tags], np.array([0, 3, 5]))

    texts = ["wheat rose here", "the corn"]
    own = reference(task, logits(tags), Ragged(tags, np.array([0, 3, 5])), {"temperature": 1.0}, texts)
    assert own.same(logits(tags)) == 1
    moved = logits(np.array([0, 1, 0, 0, 1]))
    assert own.same(moved) == 0.5
    figures = own.task.figures
    said = [
        figures.said(figures.answer(one, {"temperature": 1.0}, None, texts)) for one in (own.logits, moved)
    ]
    assert said[0] == said[1], "a negative control"


def test_numbers_are_the_same_within_a_share_of_the_targets_deviation() -> None:
    """Also if the model itself answers nearly the same to all rows."""
    logits = np.array([[0.5], [0.5], [0.5]], np.float32)
    own = reference(NUMBERS, logits, np.array([[105.0], [105.0], [101.0]]), {"quantiles": [1.0]})
    assert own.same(logits + np.float32(0.019)) == 1
    assert own.same(logits + np.array([[0.0], [0.021], [0.0]], np.float32)) == pytest.approx(2 / 3)


@pytest.mark.parametrize(("off", "kept"), [(0.0, True), (1e-3, True), (0.015, False)])
def test_an_error_may_grow_in_proportion(off: float, kept: bool) -> None:
    """The mean absolute error is 5, in the targets' own unit: half a percent of it are 0.025."""
    logits = np.zeros((4, 1), np.float32)
    own = reference(NUMBERS, logits, np.full((4, 1), 105.0), {"quantiles": [1.0]})
    found = choice.compared(own, logits - np.float32(off), LIMITS)
    assert found["mae"] == pytest.approx(5 + 10 * off) and found["same"] == 1
    assert found["kept"] is kept


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_logits_that_are_no_numbers_are_never_kept(number: float) -> None:
    logits = np.eye(3, dtype=np.float32)
    own = reference(tiny.TASK, logits, np.arange(3), {"temperature": 1.0})
    other = logits.copy()
    other[0, 0] = number
    found = choice.compared(own, other, LIMITS.model_copy(update={"same": 0.1, "loss": 1.0}))
    assert not found["kept"] and np.isfinite(found["largest_difference"])
    assert choice.compared(own, logits, LIMITS)["kept"], "a negative control"
