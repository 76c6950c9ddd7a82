"""Intervals and tests of shares against scipy, published tables and closed forms.

Interval and test agree on every small table.
"""

import itertools
import math

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import binom, binomtest, norm

from baton.evaluate import proportions

Z = norm.ppf(0.975)


def test_wilson_is_scipys() -> None:
    for rows in (1, 7, 30, 359):
        for confidence in (0.8, 0.95, 0.999):
            low, high = proportions.wilson(np.arange(rows + 1), rows, confidence)
            bounds = [binomtest(k, rows).proportion_ci(confidence, "wilson") for k in range(rows + 1)]
            assert low == pytest.approx([bound.low for bound in bounds], abs=1e-12)
            assert high == pytest.approx([bound.high for bound in bounds], abs=1e-12)


def test_wilson_of_no_rows_is_undefined_and_of_all_right_is_the_closed_form() -> None:
    low, high = proportions.wilson([0, 5, 0], [0, 5, 5], 0.95)
    assert np.isnan([low[0], high[0]]).all()
    assert [low[1], high[1]] == [pytest.approx(5 / (5 + Z**2)), 1.0]
    assert [low[2], high[2]] == [0.0, pytest.approx(Z**2 / (5 + Z**2))]


def coverage(low: np.ndarray, high: np.ndarray, rows: int, share: float) -> float:
    """Return the exact probability of the counts whose interval holds the share."""
    return float(binom.pmf(np.arange(rows + 1), rows, share)[(low <= share) & (share <= high)].sum())


def percentile_bootstrap(rows: int, confidence: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends for every count, for infinitely many resamples.

    They are those of the binomial distribution from which resampling draws rows.
    """
    shares = np.arange(rows + 1) / rows
    tail = (1 - confidence) / 2
    return binom.ppf(tail, rows, shares) / rows, binom.ppf(1 - tail, rows, shares) / rows


@pytest.mark.parametrize("share", [0.5, 0.9, 0.95, 0.99])
@pytest.mark.parametrize("rows", [10, 30, 359, 2189])
def test_wilson_covers_what_it_says(rows: int, share: float) -> None:
    """No simulation is needed: the count is binomial, so coverage is a sum.

    With so few rows some shares fall slightly below the level (Brown, Cai and DasGupta 2001, Interval
    estimation for a binomial proportion, figure 5).
    """
    low, high = proportions.wilson(np.arange(rows + 1), rows, 0.95)
    assert (0.9 if rows <= 30 else 0.93) <= coverage(low, high, rows, share) <= 0.999


@pytest.mark.parametrize(
    ("rows", "share", "expected"), [(359, 0.99, 0.86), (30, 0.95, 0.78), (10, 0.9, 0.65)]
)
def test_the_percentile_bootstrap_does_not(rows: int, share: float, expected: float) -> None:
    """Negative control: the former interval, with its coverages found by simulation."""
    assert coverage(*percentile_bootstrap(rows, 0.95), rows, share) == pytest.approx(expected, abs=0.02)


# Published: Fagerland, Lydersen and Laake 2014, Recommended tests and confidence intervals for paired
# binomial proportions (airway hyper-responsiveness, Bentur et al. 2009; complete response, Cavo et al. 2012);
# the digits of the second are from the tests of the authors' R package `contingencytables`.
PUBLISHED = [(1, 7, 21, -0.517, -0.026, 0.039, 5e-4), (6, 16, 161, -0.1240, -0.0054, 0.034690, 5e-5)]


@pytest.mark.parametrize(("first", "second", "rows", "low", "high", "p_value", "digits"), PUBLISHED)
def test_published_intervals_and_p_values(
    first: int, second: int, rows: int, low: float, high: float, p_value: float, digits: float
) -> None:
    assert proportions.paired_interval(first, second, rows, 0.95) == pytest.approx((low, high), abs=digits)
    assert proportions.mcnemar_midp(first, second) == pytest.approx(p_value, abs=digits)


def constrained(first: int, second: int, rows: int, difference: float) -> float:
    """Compute Tango's statistic in another way.

    The likelihood is maximised numerically, and the variance is written as that of a difference.
    """
    both = rows - first - second

    # q is the probability that only the second is right; that of the first is q + difference.
    def negative(q: float) -> float:
        cells = ((first, q + difference), (second, q), (both, 1 - 2 * q - difference))
        return -sum(count * math.log(max(p, 1e-300)) for count, p in cells if count)

    q = minimize_scalar(
        negative,
        bounds=(max(0, -difference), (1 - difference) / 2),
        method="bounded",
        options={"xatol": 1e-12},
    ).x
    return (first - second - rows * difference) / math.sqrt(rows * (2 * q + difference - difference**2))


@pytest.mark.parametrize(
    ("first", "second", "rows"), [(40, 20, 160), (3, 1, 25), (12, 11, 2189), (5, 9, 14), (2, 0, 30)]
)
def test_ends_solve_tangos_equation(first: int, second: int, rows: int) -> None:
    for confidence in (0.9, 0.99):
        low, high = proportions._tango(first, second, rows, confidence)
        assert constrained(first, second, rows, low) == pytest.approx(
            proportions.normal(confidence), rel=1e-3
        )
        assert constrained(first, second, rows, high) == pytest.approx(
            -proportions.normal(confidence), rel=1e-3
        )


def test_no_discordant_row_is_no_certainty() -> None:
    """With 12 rows that both models get right, a difference of 24 points is not excluded (closed form)."""
    low, high = proportions.paired_interval(0, 0, 12, 0.95)
    assert (low, high) == pytest.approx((-(Z**2) / (12 + Z**2), Z**2 / (12 + Z**2)))
    assert low < -0.24
    assert proportions.paired_interval(5, 0, 5, 0.95)[1] == 1
    assert proportions.paired_interval(0, 5, 5, 0.95)[0] == -1


def tables(most: int) -> list[tuple[int, int, int]]:
    return [
        (b, c, n)
        for n in (1, 2, 5, 13, 40)
        for b, c in itertools.product(range(most + 1), repeat=2)
        if 0 < b + c <= n
    ]


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.9875, 0.999])
def test_interval_and_test_agree_on_every_small_table(confidence: float) -> None:
    told = 0
    for first, second, rows in tables(20):
        low, high = proportions.paired_interval(first, second, rows, confidence)
        different = proportions.paired_p(first, second) < 1 - confidence
        assert different == (not low <= 0 <= high), (first, second, rows)
        assert not different or (low > 0) == (first > second)
        told += different
    assert told > 20


def test_without_the_extension_they_would_not() -> None:
    """Negative control: Tango's own interval distinguishes four rows from none at 95%.

    The mid-p test (0.0625) does not.
    """
    assert proportions._tango(4, 0, 40, 0.95)[0] > 0
    assert proportions.mcnemar_midp(4, 0) == pytest.approx(0.0625)
    assert proportions.paired_interval(4, 0, 40, 0.95)[0] == 0


def test_p_is_the_mid_p_but_for_the_far_tail() -> None:
    for first, second in itertools.product(range(60), repeat=2):
        midp, p_value = proportions.mcnemar_midp(first, second), proportions.paired_p(first, second)
        assert midp <= p_value <= midp + 0.001
        assert midp == p_value or p_value < 0.01


def test_midp_by_hand() -> None:
    assert proportions.mcnemar_midp(1, 9) == pytest.approx(2 * (1 + 10 / 2) / 2**10)
    assert proportions.mcnemar_midp(9, 1, "greater") == pytest.approx((1 + 10 / 2) / 2**10)
    assert proportions.mcnemar_midp(1, 9, "greater") == pytest.approx(1 - (1 + 10 / 2) / 2**10)
    assert [proportions.mcnemar_midp(k, k) for k in (0, 1, 6)] == [1, 1, 1]
    assert [proportions.mcnemar_midp(k, k, "greater") for k in (0, 1, 6)] == pytest.approx([0.5, 0.5, 0.5])


def test_the_paired_interval_covers_what_it_says() -> None:
    """Exact, over all tables of 40 rows, for seven pairs of shares of discordant rows."""
    rows = 40
    counts = [(b, c) for b in range(rows + 1) for c in range(rows + 1 - b) if b + c <= 25]
    bounds = np.array([proportions.paired_interval(b, c, rows, 0.95) for b, c in counts])
    b, c = np.array(counts).T
    for first, second in [
        (0.05, 0.05),
        (0.1, 0.02),
        (0.02, 0.02),
        (0.15, 0.05),
        (0.01, 0.0),
        (0.1, 0.1),
        (0.2, 0.1),
    ]:
        # Only the first, then only the second among the rest: two binomials form the trinomial.
        p = binom.pmf(b, rows, first) * binom.pmf(c, rows - b, second / (1 - first))
        inside = (bounds[:, 0] <= first - second) & (first - second <= bounds[:, 1])
        assert p.sum() > 0.999
        assert p[inside].sum() > 0.935, (first, second)


def test_equivalence_and_its_margin() -> None:
    """The smallest margin that two one-sided tests exclude is the farther end of the interval.

    Each of the tests is at half of the level.
    """
    for first, second, rows in [(12, 11, 2189), (0, 0, 100), (14, 12, 500), (4, 0, 40)]:
        margin = proportions.excluded(first, second, rows, 0.95)
        assert proportions.tost(first, second, rows, margin) == pytest.approx(0.025, abs=1e-6)
        assert (
            proportions.tost(first, second, rows, 1.1 * margin)
            < 0.025
            < proportions.tost(first, second, rows, 0.9 * margin)
        )
        assert margin == max(abs(end) for end in proportions.paired_interval(first, second, rows, 0.95))
    assert proportions.excluded(0, 0, 100, 0.95) == pytest.approx(Z**2 / (100 + Z**2))


def test_holm_by_hand() -> None:
    """Holm 1979: (0.01, 0.04, 0.03, 0.005) times (3, 1, 2, 4), never below a smaller one's result."""
    assert proportions.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert proportions.holm([0.7, 0.9]) == [1.0, 1.0]
    assert proportions.holm([]) == []


def test_all_rows_discordant_one_way() -> None:
    """Seven rows scaled to 61: the measured difference is 1 except for rounding, the maximum."""
    scaled = 7 * (61 / 7) * (1 - 1e-16)
    assert proportions.paired_interval(scaled, 0, 61, 0.95)[1] == 1
    for rows in range(1, 200):
        assert proportions.paired_interval(7 * (rows / 7), 0, rows, 0.95)[1] == pytest.approx(1)
        assert proportions.paired_interval(0, 3 * (rows / 3), rows, 0.95)[0] == pytest.approx(-1)


def test_midp_is_scipys_at_whole_numbers_and_smooth_between_them() -> None:
    for first, second in itertools.product(range(25), repeat=2):
        n = first + second
        greater = binom.sf(first, n, 0.5) + binom.pmf(first, n, 0.5) / 2
        assert proportions.mcnemar_midp(first, second, "greater") == pytest.approx(greater, abs=1e-13)
        if first != second:
            fewer = min(first, second)
            assert proportions.mcnemar_midp(first, second) == pytest.approx(
                2 * binom.cdf(fewer, n, 0.5) - binom.pmf(fewer, n, 0.5), abs=1e-13
            )
    for table in ((4, 0), (5, 1), (9, 4)):
        along = [
            proportions.mcnemar_midp(*(scale * count for count in table))
            for scale in np.linspace(0.3, 6, 200)
        ]
        assert (np.diff(along) < 0).all(), "more rows of the same kind give a smaller p"


def test_rows_needed_go_by_the_decision_itself() -> None:
    """4 against 0 of 100 rows are not significantly different (mid-p 0.5**4).

    Tango's interval alone, which does exclude 0, would give 97 rows.
    """
    assert proportions._tango(4 * 0.97, 0, 97, 0.95)[0] > 0 > proportions._tango(4 * 0.96, 0, 96, 0.95)[0], (
        "the control"
    )
    needed = proportions.rows_needed(0.0, 0.95, 4, 0, 100)
    assert needed == math.ceil(100 * math.log(0.05) / math.log(0.5) / 4) == 109
    for first, second, rows in tables(12):
        for margin in (-0.01, 0.0, 0.02):
            if proportions.paired_interval(first, second, rows, 0.95)[0] <= -margin:
                needed = proportions.rows_needed(margin, 0.95, first, second, rows)
                assert needed is None or needed > rows, (first, second, rows, margin)


def test_rows_needed() -> None:
    """Without discordant rows there is a closed form.

    Otherwise the interval of the scaled table suffices, and with one row fewer it does not.
    """
    assert proportions.rows_needed(0.005, 0.95) == math.floor(Z**2 * 0.995 / 0.005) + 1 == 765
    assert (
        proportions.noninferiority_p(0, 0, 764, 0.005)
        > 0.025
        > proportions.noninferiority_p(0, 0, 765, 0.005)
    )
    needed = proportions.rows_needed(0.01, 0.95, 3, 4, 500)
    assert needed is not None
    assert proportions._tango(3 * needed / 500, 4 * needed / 500, needed, 0.95)[0] > -0.01
    assert proportions._tango(3 * (needed - 1) / 500, 4 * (needed - 1) / 500, needed - 1, 0.95)[0] <= -0.01
    assert proportions.rows_needed(0.01, 0.95, 0, 5, 500) is None
    assert proportions.rows_needed_alone(0.5, 0.95) == math.ceil(Z**2)
    assert proportions.rows_needed_alone(0.9, 0.95, 0.9) is None
