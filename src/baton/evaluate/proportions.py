"""Shares of test rows, and differences of two shares on the same rows.

The intervals and tests hold near 0 and 1 and in small tables.

Inputs: counts of rows -> intervals, p-values, and how many rows a decision needs. When two classifiers are
compared on the same rows, only discordant rows carry information: `only_first` rows that the first alone has
right, `only_second` rows that the second alone has right.
"""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import betainc
from scipy.stats import norm

Floats = NDArray[np.float64]

EDGE = 1e-12  # how close to -1 and 1 a difference is searched


def wilson(successes: ArrayLike, rows: ArrayLike, confidence: float) -> tuple[Floats, Floats]:
    """Return low and high of Wilson's score interval, in the shape of `successes`; NaN without rows.

    Wilson 1927, Probable inference, the law of succession, and statistical inference. The same as scipy's
    `binomtest(...).proportion_ci(method="wilson")`, for many shares at once.
    """
    count, total = np.asarray(successes, np.float64), np.asarray(rows, np.float64)
    square = normal(confidence) ** 2
    with np.errstate(invalid="ignore", divide="ignore"):
        share = count / total
        centre = (count + square / 2) / (total + square)
        half = np.sqrt(square) / (total + square) * np.sqrt(total * share * (1 - share) + square / 4)
    low, high = np.maximum(centre - half, 0), np.minimum(centre + half, 1)
    # With no success, or only successes, one end is exact, regardless of rounding.
    return np.where(share == 0, 0.0, np.where(total > 0, low, np.nan)), np.where(
        share == 1, 1.0, np.where(total > 0, high, np.nan)
    )


def mean_share(values: Floats, confidence: float) -> list[float]:
    """Return the interval [low, high] of the mean of numbers from 0 to 1, one per row (n,).

    It is Wilson's for the effective number of rows: a row is worth as many single answers as its variance is
    smaller than theirs (Kish 1965, Survey sampling: the design effect).
    """
    value, spread = float(values.mean()), float(values.var())
    rows = (max(value * (1 - value) / spread, 1.0) if spread else 1.0) * len(values)
    low, high = wilson(value * rows, rows, confidence)
    return [float(low), float(high)]


def around_mean(values: Floats, confidence: float) -> tuple[float, float]:
    """Return `mean_share` less the mean itself.

    Unlike the bootstrap's interval it has a width even if all rows are perfect.
    """
    low, high = mean_share(values, confidence)
    value = float(values.mean())
    return low - value, high - value


def standard_error(values: Floats) -> float:
    """Return the standard error of a mean; 0 of a single value."""
    return float(np.sqrt(values.var() / max(len(values) - 1, 1)))


def normal(confidence: float) -> float:
    """Return the standard normal's two-sided quantile: 1.96 for 0.95."""
    return float(norm.isf((1 - confidence) / 2))


def paired_interval(
    only_first: float, only_second: float, rows: float, confidence: float
) -> tuple[float, float]:
    """Return the interval [low, high] of the difference of two paired shares, first minus second.

    This is Tango's score interval: the differences that his test does not reject. Without a discordant row it
    is +-z**2 / (rows + z**2). It excludes 0 exactly if `paired_p` is below 1 - confidence: in small tables,
    where the score test, an approximation, distinguishes the two and the mid-p test does not, the interval is
    extended to 0.

    Tango 1998, Equivalence test and confidence interval for the difference in proportions for the
    paired-sample design.
    """
    low, high = _tango(only_first, only_second, rows, confidence)
    if paired_p(only_first, only_second) < 1 - confidence:
        return low, high
    return min(low, 0.0), max(high, 0.0)


def paired_p(only_first: float, only_second: float) -> float:
    """Return the two-sided p of equal shares.

    It is McNemar's mid-p, or the p of his score test if that is larger (only below 0.01, and by less than
    0.001). Tango's interval, which inverts the score test, thus excludes 0 whenever this test rejects.
    """
    if only_first == only_second:
        return 1.0
    score = 2 * float(norm.sf(abs(only_first - only_second) / math.sqrt(only_first + only_second)))
    return max(mcnemar_midp(only_first, only_second), score)


def mcnemar_midp(only_first: float, only_second: float, alternative: str = "two-sided") -> float:
    """Return McNemar's mid-p.

    Under equal shares the discordant rows split like the tosses of a fair coin, and the observed outcome
    counts half towards its tail. `alternative` is "two-sided" or "greater" (the first is better). Equal
    counts, including zero, give 1 and 0.5.

    Fagerland, Lydersen and Laake 2013, The McNemar test for binary matched-pairs data: mid-p and asymptotic
    are better than exact conditional.
    """
    if alternative == "greater":
        return (_at_most(only_second, only_first) + _at_most(only_second - 1, only_first + 1)) / 2
    if only_first == only_second:
        return 1.0
    fewer, more = sorted((only_first, only_second))
    return _at_most(fewer, more) + _at_most(fewer - 1, more + 1)


def noninferiority_p(only_first: float, only_second: float, rows: float, margin: float) -> float:
    """Return the one-sided p of "the first is worse by `margin` or more" (Tango 1998).

    It is small if the first is not that much worse.
    """
    return float(norm.sf(tango(only_first, only_second, rows, -margin)))


def tost(only_first: float, only_second: float, rows: float, margin: float) -> float:
    """Return the p of "they differ by `margin` or more", the larger of two one-sided tests.

    It is small if the two are equivalent (Schuirmann 1987).
    """
    return max(
        noninferiority_p(only_first, only_second, rows, margin),
        noninferiority_p(only_second, only_first, rows, margin),
    )


def excluded(only_first: float, only_second: float, rows: float, confidence: float) -> float:
    """Return the smallest size beyond which differences in either direction are excluded.

    It is the farther end of Tango's interval, and the smallest margin at which `tost` is at most (1 -
    confidence) / 2, half of what two one-sided tests alone would need, so that it never contradicts the
    interval.
    """
    return max(abs(bound) for bound in _tango(only_first, only_second, rows, confidence))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return adjusted p-values (Holm 1979).

    Tests whose adjusted p is below a level are significant at that level for all tests jointly.
    """
    adjusted, largest = [0.0] * len(p_values), 0.0
    for step, place in enumerate(np.argsort(p_values, kind="stable")):
        largest = max(largest, min(1.0, (len(p_values) - step) * p_values[place]))
        adjusted[place] = largest
    return adjusted


def rows_needed(
    margin: float, confidence: float, only_first: float = 0, only_second: float = 0, rows: float = 1
) -> int | None:
    """Return the number of rows that puts `paired_interval` above -`margin`.

    Discordant rows are assumed to stay as frequent as in `rows`. The result exceeds `rows` if these are too
    few. Without discordant rows it is the first integer above z**2 * (1 - margin) / margin. It is None if no
    number suffices, that is, if the first is worse by `margin` or more.
    """
    if (only_second - only_first) / rows >= margin:
        return None

    def enough(count: int) -> bool:
        scale = count / rows
        return paired_interval(only_first * scale, only_second * scale, count, confidence)[0] > -margin

    whole = math.floor(rows)
    return _first(enough, whole if whole >= 1 and not enough(whole) else 0)


def rows_needed_alone(minimum: float, confidence: float, share: float = 1.0) -> int | None:
    """Return the number of rows that puts Wilson's lower end at `minimum` or above.

    The classifier is assumed to be right on `share` of them. None if no number suffices.
    """
    return (
        _first(lambda count: bool(wilson(share * count, count, confidence)[0] >= minimum))
        if share > minimum
        else None
    )


def tango(only_first: float, only_second: float, rows: float, difference: float) -> float:
    """Return Tango's score statistic of the hypothesis that the shares differ by `difference`.

    It is standard normal under the hypothesis, and 0 if the measured difference equals `difference`. The
    nuisance parameter, the probability that only the second is right, is estimated by maximum likelihood
    under the hypothesis.
    """
    a, b = 2 * rows, (2 * rows - only_first + only_second) * difference - only_first - only_second
    c = -only_second * difference * (1 - difference)
    nuisance = (math.sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
    variance = rows * (2 * nuisance + difference * (1 - difference))
    distance = only_first - only_second - rows * difference
    if distance == 0:
        return 0.0
    return distance / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, distance)


@lru_cache(maxsize=10_000)  # many classes have the same few discordant rows
def _tango(only_first: float, only_second: float, rows: float, confidence: float) -> tuple[float, float]:
    high = _upper(only_first, only_second, rows, normal(confidence))
    return -_upper(only_second, only_first, rows, normal(confidence)), high


def _upper(only_first: float, only_second: float, rows: float, quantile: float) -> float:
    """Return the difference above the measured one at which the statistic is -`quantile`."""
    measured = (only_first - only_second) / rows
    if measured >= 1 - EDGE:
        return 1.0
    return float(
        brentq(lambda d: tango(only_first, only_second, rows, d) + quantile, measured, 1 - EDGE, xtol=1e-13)
    )


def _at_most(tails: float, heads: float) -> float:
    """Return the probability of at most `tails` tails in `tails` + `heads` tosses of a fair coin.

    Also defined between integers.
    """
    return float(betainc(heads, tails + 1, 0.5)) if tails > -1 and heads > 0 else float(tails >= 0)


def _first(enough: Callable[[int], bool], low: int = 0, most: int = 2**40) -> int | None:
    """Return the smallest integer above `low` that is enough; None if it exceeds `most`.

    `low` must not be enough, and everything above an integer that is enough must be enough too.
    """
    high = low + 1
    while not enough(high):
        low, high = high, 2 * high
        if high > most:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
