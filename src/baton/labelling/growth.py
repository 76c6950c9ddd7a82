"""What more labels would bring: the curve's power law, tested on its own last point, and extrapolated.

Input: a learning curve -> gains with intervals (see `resampling`), or the reason why there are none.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from baton.errors import DataError
from baton.labelling import power_law, resampling
from baton.labelling.curve import Curve
from baton.labelling.power_law import PowerLaw
from baton.labelling.resampling import Estimate, estimate

Floats = NDArray[np.float64]
Verdict = Literal["grows", "flat", "noisy", "unpredicted"]
LEAST_SIZES = 4  # up to half of the labels: one more than the law has parameters
FARTHEST = 4  # times all labels: how far the law is extrapolated
DRAWN = 60  # points of the law, for a figure
FLAT = 0.01  # the greatest gain of a curve that is called flat, from a quarter of the labels to all


@dataclass(frozen=True)
class Gain:
    """How much the error falls with `more` labels than all; None: too far from the labels at hand to say."""

    more: int
    fall: Estimate | None


@dataclass(frozen=True)
class BackTest:
    """The error at the last point, predicted from those of at most half of its labels, and as measured."""

    fitted_to: int  # labels of the last point that was used
    predicted: Estimate
    measured: float
    held: bool  # whether the interval of the difference holds 0


@dataclass(frozen=True)
class Growth:
    """A learning curve, its law, and what that says."""

    labels: tuple[int, ...]
    pool: int  # all labels
    measured: tuple[Estimate, ...]  # errors
    fitted: tuple[float, ...]  # those of the law at these labels
    law: PowerLaw
    course: tuple[tuple[float, Estimate], ...]  # labels, with those to come, and the law's error
    back_test: BackTest
    recent: Estimate  # how much the error fell from a quarter of the last point's labels to all of them
    gains: tuple[Gain, ...]
    verdict: Verdict


def grow(curve: Curve, more: Sequence[int], confidence: float, seed: int) -> Growth:
    """Fit the law, test it on the last point, and extrapolate it.

    Args:
        curve: the errors.
        more: numbers of labels in addition to all.
        confidence: of the intervals.
        seed: of the resampled draws.

    Raises:
        DataError: the curve has too few points.
    """
    count = _half(curve)
    resampled = resampling.resampled(curve, seed)  # (resamples, sizes)
    sizes = np.array(curve.labels, np.float64)
    mean, weights = curve.errors.mean(axis=1), resampling.weights(curve)
    law, laws = (power_law.fit(sizes, errors, weights) for errors in (mean, resampled))
    tested = _tested(curve, resampled, weights, count, confidence)
    recent, recents = (_recent(sizes, errors, weights) for errors in (mean, resampled))
    fell = estimate(recent, recents, confidence)
    gains = tuple(Gain(own, _fall(law, laws, curve.pool, own, confidence)) for own in more)
    measured = tuple(estimate(mean[k], resampled[:, k], confidence) for k in range(len(sizes)))
    return Growth(
        labels=curve.labels,
        pool=curve.pool,
        measured=measured,
        fitted=tuple(float(law.error(own)) for own in curve.labels),
        law=law,
        course=_course(law, laws, curve, gains, confidence),
        back_test=tested,
        recent=fell,
        gains=gains,
        verdict=_verdict(fell, tested),
    )


def _half(curve: Curve) -> int:
    """Return the number of points up to half of the last one's labels, if they are enough."""
    count = sum(own <= curve.labels[-1] / 2 for own in curve.labels)
    if count < LEAST_SIZES:
        raise DataError(
            "there are too few labels for a learning curve",
            got=f"{curve.pool:,} labels, {count} points up to half of the last",
            expected=f"{LEAST_SIZES} points, of at least 10 labels and 2 a class each",
            hint="label some more rows first, at random or those of `baton suggest`",
        )
    return count


def _verdict(recent: Estimate, tested: BackTest) -> Verdict:
    if recent.low <= 0:
        return "flat" if recent.high <= FLAT else "noisy"
    return "grows" if tested.held else "unpredicted"


def _course(
    law: PowerLaw, laws: PowerLaw, curve: Curve, gains: Sequence[Gain], confidence: float
) -> tuple[tuple[float, Estimate], ...]:
    farthest = curve.pool + max((gain.more for gain in gains if gain.fall is not None), default=0)
    grid = np.unique(np.r_[np.geomspace(curve.labels[0], farthest, DRAWN), curve.labels[-1]])
    return tuple((float(own), estimate(law.error(own), laws.error(own), confidence)) for own in grid)


def _recent(sizes: Floats, errors: Floats, weights: Floats) -> Floats:
    """Return the fall from a quarter of the labels to all, by a line through errors over log(labels), (...).

    Unlike the law, a line may rise, so an interval of its slope can hold 0.
    """
    late = sizes >= sizes[-1] / 4 - 1  # sizes are rounded
    share = weights[late] / weights[late].sum()
    doublings = np.log2(sizes[late]) - np.log2(sizes[late]) @ share
    slope = errors[..., late] @ (share * doublings) / (doublings**2 @ share)
    return np.asarray(-2 * slope)


def _fall(law: PowerLaw, laws: PowerLaw, labels: int, more: int, confidence: float) -> Estimate | None:
    if labels + more > FARTHEST * labels:
        return None
    value = float(law.error(labels) - law.error(labels + more))
    return estimate(value, laws.error(labels) - laws.error(labels + more), confidence)


def _tested(curve: Curve, resampled: Floats, weights: Floats, count: int, confidence: float) -> BackTest:
    """Predict the last point from the first `count`."""
    sizes, mean = np.array(curve.labels[:count], np.float64), curve.errors.mean(axis=1)
    predicted, many = (
        power_law.fit(sizes, errors[..., :count], weights[:count]).error(curve.labels[-1])
        for errors in (mean, resampled)
    )
    missed = estimate(float(predicted) - mean[-1], many - resampled[:, -1], confidence)
    return BackTest(
        curve.labels[count - 1],
        estimate(float(predicted), many, confidence),
        float(mean[-1]),
        missed.low <= 0 <= missed.high,
    )
