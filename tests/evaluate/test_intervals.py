"""Closed-form intervals of F1, means, ratios and skill.

They are checked against published values and independent computations.
"""

import numpy as np
import pytest
from scipy.stats import binom, norm

from baton.evaluate import intervals, proportions


def test_the_published_ratio() -> None:
    """Complete response before and after (Cavo et al. 2012; 59, 6, 16, 80): 0.8667 (0.7476 to 0.9876).

    These are the values for Tang's score interval in the tests of the R package `contingencytables` by
    Fagerland, Lydersen and Laake.
    """
    assert intervals.paired_ratio(59, 6, 16, 161, 0.95) == pytest.approx((0.7476, 0.9876), abs=5e-5)


@pytest.mark.parametrize(
    ("both", "first", "second", "rows"), [(50, 9, 2, 70), (0, 3, 1, 20), (200, 30, 34, 900), (7, 1, 8, 30)]
)
def test_a_ratio_is_1_where_the_difference_is_0(both: int, first: int, second: int, rows: int) -> None:
    """Both intervals invert McNemar's test there.

    The ratio's interval therefore ends at 1 at the confidence at which that of the difference ends at 0.
    """
    confidence = 1 - 2 * norm.sf(abs(first - second) / (first + second) ** 0.5)
    end = 0 if first > second else 1
    assert intervals.paired_ratio(both, first, second, rows, confidence)[end] == pytest.approx(1, abs=1e-6)
    assert proportions._tango(first, second, rows, confidence)[end] == pytest.approx(0, abs=1e-6)


def test_a_ratio_of_equals_and_of_nothing() -> None:
    low, high = intervals.paired_ratio(12, 0, 0, 12, 0.95)
    assert low < 0.8
    assert high == pytest.approx(1 / low)
    assert intervals.paired_ratio(0, 0, 4, 10, 0.95) == (0, 1)  # p = 0.0625
    assert intervals.paired_ratio(0, 0, 5, 10, 0.95)[1] < 1


def test_f1_covers_what_it_says() -> None:
    """Exact: given the rows that a class touches, hits are binomial, and F1 increases with them."""
    for touched, share in ((8, 0.9), (40, 0.95), (40, 0.5)):
        hit = np.arange(touched + 1.0)
        # All rows that touch the class were predicted as it.
        low, high = intervals.f1(hit, np.full(touched + 1, touched + 0.0), hit, 0.95)
        truth = 2 * share / (1 + share)
        assert 0.9 < binom.pmf(hit, touched, share)[(low <= truth) & (truth <= high)].sum() < 0.99
    assert np.isnan(intervals.f1(np.zeros(1), np.zeros(1), np.zeros(1), 0.95)).all()


def test_a_mean_of_independent_shares() -> None:
    """Half-widths of a weighted mean add as squares."""
    low, high = intervals.mean(
        np.array([0.25, 0.75]), np.array([0.5, 0.9]), np.array([0.3, 0.8]), np.array([0.6, 1.0])
    )
    assert (low, high) == pytest.approx((0.8 - np.hypot(0.05, 0.075), 0.8 + np.hypot(0.025, 0.075)))


def test_difference_of_mean_recall_by_hand() -> None:
    labels = np.array([0] * 10 + [2] * 30)  # class 1 has no row
    first, second = np.ones(40, bool), np.ones(40, bool)
    second[[0, 1, 15]] = False
    bounds = [np.array(proportions.paired_interval(*table, 0.95)) for table in ((2, 0, 10), (1, 0, 30))]
    values = [0.2, 1 / 30]
    half = [
        np.hypot(*((value - both[k]) / 2 for value, both in zip(values, bounds, strict=True))) for k in (0, 1)
    ]
    expected = [np.mean(values) - half[0], np.mean(values) + half[1]]
    assert intervals.mean_difference(labels, first, second, 0.95) == pytest.approx(expected)


def test_errors_removed_is_skill() -> None:
    generator = np.random.default_rng(0)
    model, majority = generator.random(500) < 0.9, generator.random(500) < 0.5
    value, (low, high) = intervals.errors_removed(model, majority, 0.95) or (0, [0, 0])
    accuracy, base = model.mean(), majority.mean()
    assert value == pytest.approx((accuracy - base) / (1 - base))
    assert low < value < high < 1
    assert intervals.errors_removed(majority, majority, 0.95)[0] == 0  # type: ignore[index]
    assert intervals.errors_removed(majority, np.ones(500, bool), 0.95) is None
    perfect, (low, high) = intervals.errors_removed(np.ones(500, bool), majority, 0.95) or (0, [0, 0])
    assert (perfect, high) == (1, 1)
    assert 0.95 < low < 1


def test_ratios_tell_nothing_apart_that_the_test_does_not() -> None:
    """4 rows against none of 100 have p = 0.0625; errors removed used to have 2.6% to 90.3%."""
    other = np.ones(100, bool)
    other[:10] = False
    model = other.copy()
    model[:4] = True
    value, ends = intervals.errors_removed(model, other, 0.95) or (0, [])
    assert value == pytest.approx(0.4) and ends[0] == 0 and ends[1] == pytest.approx(0.7, abs=0.1)
    for both, first, second in [(90, 4, 0), (90, 0, 4), (30, 5, 0), (30, 6, 0), (30, 1, 8), (200, 12, 3)]:
        for confidence in (0.9, 0.95, 0.9875):
            low, high = intervals.paired_ratio(both, first, second, both + first + second + 5, confidence)
            assert (proportions.paired_p(first, second) < 1 - confidence) == (not low <= 1 <= high)
