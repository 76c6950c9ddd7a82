"""Intervals of a learning curve, and the weights of its points.

Input: a curve -> mean errors of resamples; values of resamples -> an estimate.

Intervals are percentiles over resamples, each of which draws the rows on which the curve is measured and the
draws of labels, both with replacement, and fits the law again. Draws of n of all N labels have a share n / N
of them in common, and what they share is not seen in their spread. The variance of one model of n labels is
taken as k / n, with k from the draws of at most half of the labels; a share n / N of it is added as noise.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from baton.labelling.curve import Curve

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A value with its interval."""

    value: float
    low: float
    high: float


def weights(curve: Curve) -> Floats:
    """Return weights inverse to the variances of the means over draws, see the top of this file; (sizes,)."""
    sizes, share = np.array(curve.labels, np.float64), _shares(curve)
    return np.asarray(sizes / ((1 - share) / (curve.errors.shape[1] * curve.models) + share))


def _shares(curve: Curve) -> Floats:
    """Return the share of the rows of two draws that they have in common, (sizes,)."""
    return np.asarray(np.array(curve.labels, np.float64) / curve.pool)


def resampled(curve: Curve, seed: int) -> Floats:
    """Return mean errors of resampled rows and draws, with the noise that draws share (resamples, sizes)."""
    draw = np.random.default_rng(seed)
    count, draws = len(curve.resampled), curve.errors.shape[1]
    chosen = draw.multinomial(draws, np.full(draws, 1 / draws), count) / draws  # (resamples, draws)
    mean = curve.resampled.mean(axis=2)
    # Means of few draws with replacement vary by (draws - 1) / draws of what they should.
    stretch = np.sqrt(draws / (draws - 1)) if draws > 1 else 1.0
    found = mean + stretch * ((curve.resampled * chosen[:, None, :]).sum(axis=2) - mean)
    noise = draw.normal(size=found.shape) * np.sqrt(shared_variance(curve))
    return np.asarray(np.clip(found + noise, 0, 1))


def shared_variance(curve: Curve) -> Floats:
    """Return the variance of the mean over draws that their spread does not show, (sizes,)."""
    sizes, share = np.array(curve.labels, np.float64), _shares(curve)
    if curve.errors.shape[1] == 1:
        return np.zeros(len(sizes))
    known = share <= 0.5
    spread = curve.errors.var(axis=1, ddof=1)
    constant = (spread * curve.models * sizes / np.maximum(1 - share, 0.5))[known].mean()
    return np.asarray(share * constant / sizes)


def estimate(value: float | Floats, values: Floats, confidence: float) -> Estimate:
    """Return a value with the percentile interval of its resamples."""
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Estimate(float(value), float(min(low, value)), float(max(high, value)))
