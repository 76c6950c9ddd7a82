"""Closed-form intervals of figures made from several shares: F1, means over classes, ratios.

They do not collapse when a table shows no mistake. The bootstrap does, since it can only draw what the table
holds.

Inputs: counts of rows -> low and high.
"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from baton.evaluate.proportions import normal, paired_interval, paired_p, wilson

Floats = NDArray[np.float64]


def f1(hit: Floats, chosen: Floats, actual: Floats, confidence: float) -> tuple[Floats, Floats]:
    """Return low and high of each class's F1, in the shape of the counts; NaN for a class without rows.

    `hit`, `chosen` and `actual` count the rows of a class that are correct, predicted as it and labelled as
    it. F1 is 2s / (1 + s), where s is the share of hits among the rows labelled or predicted as the class.
    Given their number, hits are binomial, so Wilson's interval of s becomes one of F1 (Lam, Gopal and Qian
    2023, Confidence intervals for the F1 score).
    """
    low, high = wilson(hit, chosen + actual - hit, confidence)
    return 2 * low / (1 + low), 2 * high / (1 + high)


def mean(weights: Floats, values: Floats, low: Floats, high: Floats) -> tuple[float, float]:
    """Return low and high of the sum of `weights` times `values`, all (k).

    `values` have the intervals `low` to `high`, and are treated as independent.

    Zou and Donner 2008, Construction of confidence limits about effect measures: a general approach (MOVER).
    """
    value = float(weights @ values)
    below, above = (math.sqrt(float(((weights * (values - end)) ** 2).sum())) for end in (low, high))
    return value - below, value + above


def mean_difference(
    labels: NDArray[np.integer], first: NDArray[np.bool_], second: NDArray[np.bool_], confidence: float
) -> list[float]:
    """Return [low, high] of the difference in mean recall over the classes of `labels`.

    `first` and `second` are hits, (n); the interval is the `mean` of Tango's intervals.
    """
    rows = np.bincount(labels)
    only_first, only_second = (
        np.bincount(labels[own], minlength=len(rows)) for own in (first & ~second, second & ~first)
    )
    tables = [(int(b), int(c), int(n)) for b, c, n in zip(only_first, only_second, rows, strict=True) if n]
    kinds = {table: paired_interval(*table, confidence) for table in set(tables)}
    values = np.array([(b - c) / n for b, c, n in tables])
    low, high = np.array([kinds[table] for table in tables]).T
    return list(mean(np.full(len(tables), 1 / len(tables)), values, low, high))


def paired_ratio(
    both: int, only_first: int, only_second: int, rows: int, confidence: float
) -> tuple[float, float]:
    """Return low and high (possibly infinity) of the ratio of two paired shares, first over second.

    `both` rows count for both, the others for one. The interval holds the ratios that the score test does not
    reject. At 1 that test is McNemar's, as Tango's interval of the difference is at 0; and like
    `paired_interval`, the interval is extended to 1 if `paired_p` does not distinguish the two.

    Tang, Tang and Chan 2003, Confidence interval construction for proportion ratio in paired studies based on
    hybrid method.

    Raises:
        ZeroDivisionError: no row counts for the second.
    """
    first, second, quantile = both + only_first, both + only_second, normal(confidence)
    ratio = first / second

    def statistic(theta: float) -> float:
        a, b = rows * (1 + theta), second * theta**2 - (first + 2 * only_second)
        c = only_second * (1 - theta) * (both + only_first + only_second) / rows
        nuisance = (math.sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
        variance = a * nuisance + (both + only_first + only_second) * (theta - 1)
        distance = first - second * theta
        return (
            distance / math.sqrt(variance)
            if variance > 1e-12
            else math.copysign(math.inf, distance)
            if distance
            else 0.0
        )

    low = float(brentq(lambda theta: min(statistic(theta), 1e6) - quantile, 0, ratio)) if first else 0.0
    far = max(2 * ratio, 1.0)
    while statistic(far) > -quantile and far < 1e9:
        far *= 2
    high = (
        float(brentq(lambda theta: max(statistic(theta), -1e6) + quantile, ratio, far))
        if far < 1e9
        else math.inf
    )
    return (
        (low, high) if paired_p(only_first, only_second) < 1 - confidence else (min(low, 1.0), max(high, 1.0))
    )


def errors_removed(
    first: NDArray[np.bool_], second: NDArray[np.bool_], confidence: float
) -> tuple[float, list[float]] | None:
    """Return the net share of the second's mistakes that the first avoids, with [low, high].

    Computed from hits (n); None if the second makes no mistake. The share is 1 - errors of the first / errors
    of the second: 1 is perfect, 0 no better, negative worse. Against a majority baseline it is the accuracy's
    skill, (accuracy - majority) / (1 - majority).
    """
    if second.all():
        return None
    # Counts of wrong rows.
    both, only_first, only_second = (
        int(rows.sum()) for rows in (~first & ~second, ~first & second, first & ~second)
    )
    low, high = paired_ratio(both, only_first, only_second, len(first), confidence)
    return 1 - (both + only_first) / (both + only_second), [1 - high, 1 - low]
