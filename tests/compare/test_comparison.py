"""Means, intervals and paired differences: closed forms, and Student's own data."""

import numpy as np
import pytest

from baton.compare import comparison
from baton.evaluate import proportions
from tests.compare import made_up

# Student 1908: additional hours of sleep of ten patients with two drugs; R's t.test gives the intervals.
FIRST = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
SECOND = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]


def test_over_seeds_the_interval_is_students() -> None:
    values = {"a": {8: SECOND}, "b": {8: FIRST}}
    found = made_up.comparison(values, figure=made_up.Scale("mae", 1, share=False))
    cell = found.cell("b", 8)
    assert cell is not None and cell.figures["mae"] == pytest.approx(0.75)
    assert cell.interval == pytest.approx((-0.5297804, 2.0297804), abs=1e-6)
    assert (cell.seeds, cell.used, cell.costs.peak_memory_bytes) == (tuple(range(10)), 8.0, 1.5e9)
    own = found.difference("a", "b", 8)
    assert own is not None and own.mean == pytest.approx(1.58) and own.sign == 1
    assert (own.low, own.high) == pytest.approx((0.7001142, 2.4598858), abs=1e-6)
    assert found.sign("b", "a", 8) == -1
    assert found.best(["a", "b"], 8) == "a"


def test_a_lower_error_is_a_gain() -> None:
    found = made_up.comparison({"a": {8: [1.0, 1.2, 1.1]}, "b": {8: [2.0, 2.3, 2.2]}}, figure=made_up.ERROR)
    own = found.difference("a", "b", 8)
    assert own is not None and own.mean == pytest.approx(1.0667, abs=1e-4) and own.sign == 1
    assert found.best(["b", "a"], 8) == "a"
    cell = found.cell("a", 8)
    assert cell is not None and cell.interval is not None and cell.interval[0] < 1.1 < cell.interval[1]


def test_with_one_seed_the_interval_is_that_of_test_rows() -> None:
    found = made_up.comparison({"a": {8: [0.9]}, "b": {8: [0.8]}})
    cell, own = found.cell("a", 8), found.difference("a", "b", 8)
    low, high = proportions.wilson(180, 200, 0.95)
    assert cell is not None and cell.interval == pytest.approx((float(low), float(high)))
    assert own is not None
    # 20 rows that only the first has right, none that only the second has.
    assert (own.low, own.high) == pytest.approx(proportions.paired_interval(20, 0, 200, 0.95))


def test_equal_differences_of_all_seeds_are_judged_by_rows() -> None:
    """Two seeds that differ by one row each say nothing; by 20 rows they do."""
    few = made_up.comparison({"a": {8: [0.905, 0.805]}, "b": {8: [0.9, 0.8]}})
    many = made_up.comparison({"a": {8: [0.9, 0.8]}, "b": {8: [0.8, 0.7]}})
    assert few.sign("a", "b", 8) == 0
    assert many.sign("a", "b", 8) == 1
    equal = made_up.comparison({"a": {8: [0.8, 0.8]}}).cell("a", 8)
    assert equal is not None and equal.interval is None, "the spread over seeds is not known"


def test_only_common_seeds_are_paired() -> None:
    values = {"a": {8: [0.5, 0.9, 0.8]}, "b": {8: [0.5, 0.6]}, "c": {None: [0.5]}}
    found = made_up.comparison(values)
    own = found.difference("a", "b", 8)
    assert own is not None and own.mean == pytest.approx(0.15)
    assert found.difference("a", "c", 8) is None and found.cell("c", 8) is None
    assert found.best(["c"], 8) is None


def test_the_interval_of_a_share_ends_at_0_and_1() -> None:
    cell = made_up.comparison({"a": {8: [0.2, 0.9]}}).cell("a", 8)
    assert cell is not None and cell.interval == (0.0, 1.0)


def test_rows_with_scores_that_are_no_shares() -> None:
    scores = np.array([-3.0, -1.0, -2.0, -2.5])
    low, high = comparison.mean_rows(scores, 0.95)
    half = 3.182446 * 0.8539126 / 2  # Student's t with 3 degrees of freedom, deviation, root of 4 rows
    assert (low, high) == pytest.approx((-2.125 - half, -2.125 + half), abs=1e-5)
    assert comparison.paired_rows(scores, scores, 0.95) == (None, None)
    low, high = comparison.paired_rows(scores, scores - np.array([1.0, 2.0, 1.5, 1.0]), 0.95)
    assert low is not None and high is not None and 0 < low < 1.375 < high
