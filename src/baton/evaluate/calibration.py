"""Reliability: how often a classifier is right when it claims to be p sure, and how far it is off.

Inputs: labels (n), predicted classes (n) and log-probabilities (n, classes) -> one row per equal-width bin of confidence, for a picture;
the calibration error with its interval.

The usual expected calibration error (`Reliability.ece`) is a mean of absolute gaps, each of which chance makes larger: a perfect model of
359 rows is told to be off by about 0.02. `error` has no such bias.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baton.tasks.metrics import bin_of

LEAST = 10  # rows of a bin of equal rows, while there are so many


@dataclass(frozen=True)
class Reliability:
    """Per bin of confidence, all (bins): `count` rows, their mean `confidence` and their `accuracy` (NaN in an empty bin)."""

    edges: NDArray[np.float64]  # (bins + 1)
    count: NDArray[np.int64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]

    @property
    def ece(self) -> float:
        """The expected calibration error: mean |accuracy - confidence| over bins, weighted by rows (Guo et al. 2017)."""
        filled = self.count > 0
        gaps = np.abs(self.accuracy - self.confidence)[filled]
        return float((gaps * self.count[filled]).sum() / self.count.sum())


def reliability(
    labels: NDArray[Any], predicted: NDArray[Any], log_p: NDArray[np.float64], bins: int
) -> Reliability:
    """Bin the rows by the probability of their predicted class; bins are ((m - 1) / bins, m / bins]."""
    confidence = np.exp(log_p[np.arange(len(labels)), predicted])
    place = bin_of(confidence, bins)
    count = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):  # 0 / 0 in an empty bin
        return Reliability(
            edges=np.linspace(0, 1, bins + 1),
            count=count.astype(np.int64),
            confidence=np.bincount(place, weights=confidence, minlength=bins) / count,
            accuracy=np.bincount(place, weights=labels == predicted, minlength=bins) / count,
        )


@dataclass(frozen=True)
class Calibration:
    """What is shown of a model: reliability and calibration error (with its interval) as trained, and at its temperature."""

    temperature: float
    raw: Reliability
    scaled: Reliability
    raw_error: tuple[float, list[float]]
    scaled_error: tuple[float, list[float]]


def error(
    labels: NDArray[Any], predicted: NDArray[Any], log_p: NDArray[np.float64], bins: int, confidence: float
) -> tuple[float, list[float]]:
    """The calibration error of the predicted class, as a difference of probabilities, and its interval [low, high].

    It is the root of the mean squared gap between accuracy and confidence over bins that hold equally many rows (rows of one confidence
    stay together), debiased: of each bin's squared gap, what chance alone makes of it is taken off. So the square is right in the mean,
    and the figure is 0 where it falls below 0. It is never below the mean absolute gap of the same bins, at which ECE aims.

    Bröcker 2012, Estimating reliability and resolution of probability forecasts through decomposition of the empirical score; Kumar, Liang
    & Ma 2019, Verified uncertainty calibration; in the form of Sun et al. 2024, A confidence interval for the l2 expected calibration
    error.

    The gaps' squares, each divided by its variance, sum up to a chi-square variable, whose noncentrality the error is; with unequal
    variances its scale and degrees of freedom are matched to mean and variance (Satterthwaite 1946). The interval holds the values that a
    two-sided test does not refuse, as is usual for the RMSEA (Browne & Cudeck 1993); where the lower end is 0, nothing speaks
    against a perfect calibration. It is given for the error of these bins, which gaps of both signs within a bin make smaller.

    Args:
        labels: (n).
        predicted: classes, (n).
        log_p: log-probabilities, (n, classes).
        bins: at most so many, and at least `LEAST` rows in each.
        confidence: of the interval.
    """
    sure = np.exp(log_p[np.arange(len(labels)), predicted])
    gaps, excess, variances = _gaps(sure, labels == predicted, bins)
    if not len(gaps):  # one row of each confidence: nothing can be told
        return 0.0, [0.0, 1.0]
    weight = variances**2
    size, freedom = weight.sum() / variances.sum(), variances.sum() ** 2 / weight.sum()
    square = float((gaps - excess).sum())
    seen = (square + variances.sum()) / size
    tail = (1 - confidence) / 2
    low, high = _noncentrality(seen, freedom, 1 - tail), _noncentrality(max(seen, freedom), freedom, tail)
    return max(square, 0.0) ** 0.5, [min(1.0, (size * bound) ** 0.5) for bound in (low, high)]


def _gaps(sure: NDArray[np.float64], hits: NDArray[np.bool_], bins: int) -> tuple[NDArray[np.float64], ...]:
    """Of each bin of equal rows, as shares of all rows: squared gap; what chance makes of it on average; and a cautious value of that.

    Chance is the variance of (hit - confidence) in the bin, without bias. A few rows that are all right have none of their own: the
    cautious value is at least the variance of hits if the confidences are right, and if one hit and one miss more had been seen.
    """
    rows = len(sure)
    _, inverse, count = np.unique(sure, return_inverse=True, return_counts=True)
    place = ((np.cumsum(count) - count) * int(np.clip(rows // LEAST, 1, bins)) // rows)[inverse]
    columns = (np.ones(rows), hits - sure, (hits - sure) ** 2, sure * (1 - sure), hits)
    sums = np.array(
        [np.bincount(place, weights=column) for column in columns], dtype=np.float64
    )  # (columns, bins)
    size, gap, squares, honest, hit = sums[:, sums[0] > 1]  # of one row nothing can be told
    right = (hit + 1) / (size + 2)
    chance = (squares - gap**2 / size) / (size - 1)
    return (
        gap**2 / size / rows,
        chance / rows,
        np.max([chance, honest / size, right * (1 - right)], axis=0) / rows,
    )


def _noncentrality(seen: float, freedom: float, share: float) -> float:
    """The noncentrality of the chi-square variable that is at most `seen` in this share of cases; 0 if that is less often so with none."""
    from scipy.optimize import brentq
    from scipy.stats import chi2, ncx2

    if chi2.cdf(seen, freedom) <= share:
        return 0.0
    most = seen + 1.0
    while ncx2.cdf(seen, freedom, most) > share:
        most *= 2
    return float(brentq(lambda value: ncx2.cdf(seen, freedom, value) - share, 1e-12, most, xtol=1e-9))
