"""Reliability: how often a classifier is right when it claims to be p sure, and its calibration error.

Inputs: labels (n), predicted classes (n) and log-probabilities (n, classes) -> one row per equal-width bin of
confidence, for a plot; the calibration error with its interval.

The usual expected calibration error (`Reliability.ece`) is a mean of absolute gaps, each of which chance
makes larger: a perfect model appears to be off by about 0.02 on 359 rows. `error` has no such bias.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baton.tasks.metrics import bin_of

LEAST = 10  # rows in a bin of equal rows, if there are that many


@dataclass(frozen=True)
class Reliability:
    """Statistics per bin of confidence, all (bins).

    They are `count` rows, their mean `confidence` and their `accuracy` (NaN in an empty bin).
    """

    edges: NDArray[np.float64]  # (bins + 1)
    count: NDArray[np.int64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]

    @property
    def ece(self) -> float:
        """The expected calibration error (Guo et al. 2017).

        It is the mean |accuracy - confidence| over bins, weighted by rows.
        """
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
    """What is shown of a model's calibration, as trained and at its temperature.

    Both have a reliability and a calibration error with its interval.
    """

    temperature: float
    raw: Reliability
    scaled: Reliability
    raw_error: tuple[float, list[float]]
    scaled_error: tuple[float, list[float]]


def error(
    labels: NDArray[Any], predicted: NDArray[Any], log_p: NDArray[np.float64], bins: int, confidence: float
) -> tuple[float, list[float]]:
    """Return the calibration error of the predicted class, and its interval [low, high].

    The error is a difference of probabilities: the root of the mean squared gap between accuracy and
    confidence over bins of equally many rows (rows of equal confidence stay together), debiased by
    subtracting from each squared gap its expected value under chance alone. The square is therefore unbiased,
    and the error is 0 where it falls below 0. The quantity estimated is never below the mean absolute gap of
    the same bins, which ECE estimates.

    Bröcker 2012, Estimating reliability and resolution of probability forecasts through decomposition of the
    empirical score; Kumar, Liang & Ma 2019, Verified uncertainty calibration; in the form of Sun et al. 2024,
    A confidence interval for the l2 expected calibration error.

    The squared gaps, each divided by its variance, sum to a chi-square variable whose noncentrality is the
    error; with unequal variances, its scale and degrees of freedom are matched to mean and variance
    (Satterthwaite 1946). The interval holds the values that a two-sided test does not reject, as is usual for
    the RMSEA (Browne & Cudeck 1993); a lower end of 0 means no evidence against perfect calibration. It
    applies to the error of these bins, which gaps of opposite sign within a bin reduce.

    Args:
        labels: (n).
        predicted: classes, (n).
        log_p: log-probabilities, (n, classes).
        bins: maximum number of bins; each holds at least `LEAST` rows.
        confidence: of the interval.
    """
    sure = np.exp(log_p[np.arange(len(labels)), predicted])
    gaps, excess, variances = _gaps(sure, labels == predicted, bins)
    return _error(gaps, excess, variances, confidence)


def pooled(
    probabilities: NDArray[np.float64], targets: NDArray[Any], bins: int, confidence: float
) -> tuple[float, list[float]]:
    """Return the same for decisions on several labels of each row, both arrays (n, labels).

    The decisions of one row count as at least one and at most all: their variance is multiplied by the design
    effect, estimated from the variances of single residuals and of their mean over a row (Kish 1965, Survey
    sampling).
    """
    predicted = probabilities >= 0.5
    sure, hits = np.where(predicted, probabilities, 1 - probabilities), predicted == (targets > 0)
    residual, labels = hits - sure, probabilities.shape[1]
    single, mean = float(residual.var()), float(residual.mean(axis=1).var())
    worth = min(max(single / mean, 1.0), labels) if mean else 1.0
    gaps, excess, variances = _gaps(sure.ravel(), hits.ravel(), bins)
    return _error(gaps, excess * labels / worth, variances * labels / worth, confidence)


def of_confidence(
    sure: NDArray[np.float64], hits: NDArray[np.bool_], bins: int, confidence: float
) -> tuple[float, list[float]]:
    """Return the same for decisions with the probabilities `sure`; `hits` says which are right, both (n)."""
    gaps, excess, variances = _gaps(sure, hits, bins)
    return _error(gaps, excess, variances, confidence)


def _error(
    gaps: NDArray[np.float64], excess: NDArray[np.float64], variances: NDArray[np.float64], confidence: float
) -> tuple[float, list[float]]:
    """Return the error and its interval from `_gaps`."""
    if not len(gaps):  # one row per confidence: there is no information
        return 0.0, [0.0, 1.0]
    weight = variances**2
    size, freedom = weight.sum() / variances.sum(), variances.sum() ** 2 / weight.sum()
    square = float((gaps - excess).sum())
    seen = (square + variances.sum()) / size
    tail = (1 - confidence) / 2
    low, high = _noncentrality(seen, freedom, 1 - tail), _noncentrality(max(seen, freedom), freedom, tail)
    return max(square, 0.0) ** 0.5, [min(1.0, (size * bound) ** 0.5) for bound in (low, high)]


def _gaps(sure: NDArray[np.float64], hits: NDArray[np.bool_], bins: int) -> tuple[NDArray[np.float64], ...]:
    """Return three values for each bin of equal rows, as shares of all rows.

    They are the squared gap, its expected value under chance alone, and a cautious value of that.

    Chance is the unbiased variance of (hit - confidence) in the bin. A few rows that are all correct have no
    variance: the cautious value is at least the variance of hits if the confidences are right, and the
    variance if one more hit and one more miss had been seen.
    """
    rows = len(sure)
    _, inverse, count = np.unique(sure, return_inverse=True, return_counts=True)
    place = ((np.cumsum(count) - count) * int(np.clip(rows // LEAST, 1, bins)) // rows)[inverse]
    columns = (np.ones(rows), hits - sure, (hits - sure) ** 2, sure * (1 - sure), hits)
    # One row per column, one column per bin.
    sums = np.array([np.bincount(place, weights=column) for column in columns], dtype=np.float64)
    size, gap, squares, honest, hit = sums[:, sums[0] > 1]  # a single row has no variance
    right = (hit + 1) / (size + 2)
    chance = (squares - gap**2 / size) / (size - 1)
    return (
        gap**2 / size / rows,
        chance / rows,
        np.max([chance, honest / size, right * (1 - right)], axis=0) / rows,
    )


def _noncentrality(seen: float, freedom: float, share: float) -> float:
    """Return the noncentrality of the chi-square variable that is at most `seen` in this share of cases.

    It is 0 if even a central variable is at most `seen` less often than that.
    """
    from scipy.optimize import brentq
    from scipy.stats import chi2, ncx2

    if chi2.cdf(seen, freedom) <= share:
        return 0.0
    most = seen + 1.0
    while ncx2.cdf(seen, freedom, most) > share:
        most *= 2
    return float(brentq(lambda value: ncx2.cdf(seen, freedom, value) - share, 1e-12, most, xtol=1e-9))
