"""Average precision of a model that gives each row any number of labels, whatever its thresholds.

Inputs: scores (n, labels) and targets (n, labels) -> micro and macro average precision (mAP) with intervals.

- micro: of all decisions, one for each row and label, in one order.
- macro (mAP): the mean over labels that some row has.

The standard error is that of the infinitesimal jackknife: the square root of the sum over rows of the squared
derivative with respect to the row's weight (Jaeckel 1972, The infinitesimal jackknife; Efron 1982), so the
decisions of a row may depend on each other. The interval is symmetric in log-odds, as Boyd, Eng and Page 2013
(Area under the precision-recall curve: point estimates and confidence intervals) recommend, and never
narrower than Wilson's for as many rows as have a label, since a table that is ranked without a mistake has
no standard error.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from baton.evaluate import intervals
from baton.evaluate.proportions import normal, wilson
from baton.evaluate.resampling import widest

Floats = NDArray[np.float64]


class Precision(NamedTuple):
    """An average precision, and its derivative with respect to the weight of each decision or row."""

    value: float
    derivative: Floats


def average_precision(scores: Floats, positive: NDArray[np.bool_]) -> Precision:
    """Return the average precision of `scores` (m,), of which `positive` (m,) are, at least one.

    It is the mean over positives of the precision among the decisions that score at least as high.
    """
    distinct, place = np.unique(-scores, return_inverse=True)  # groups of equal scores, the highest first
    groups = len(distinct)
    hits = np.bincount(place, weights=positive, minlength=groups)
    reached = np.cumsum(np.bincount(place, minlength=groups))  # decisions down to each group
    precision, total = np.cumsum(hits) / reached, float(hits.sum())
    value = float(hits @ precision) / total
    # A decision of weight 1 + e changes its own part of the mean, and the precision of all groups below it.
    below, weighted = (np.cumsum(part[::-1])[::-1] for part in (hits / reached, hits * precision / reached))
    own = positive * (precision[place] - value + below[place])
    return Precision(value, (own - weighted[place]) / total)


def micro(scores: Floats, targets: NDArray[np.bool_]) -> Precision:
    """Return the average precision of all decisions, and its derivative by rows, (n,)."""
    found = average_precision(scores.ravel(), targets.ravel())
    return Precision(found.value, found.derivative.reshape(targets.shape).sum(axis=1))


def per_label(scores: Floats, targets: NDArray[np.bool_]) -> list[Precision | None]:
    """Return the average precision of each label and its derivative by rows; None for one without a row."""
    pairs = zip(scores.T, targets.T, strict=True)
    return [average_precision(own, true) if true.any() else None for own, true in pairs]


def figures(scores: Floats, targets: NDArray[Any], confidence: float) -> dict[str, Any]:
    """Return `micro_average_precision` and `macro_average_precision`, with `_interval`; none without labels.

    `labels_without_rows` counts the labels that the macro mean leaves out.
    """
    true = targets > 0
    labels = [one for one in per_label(scores, true) if one is not None]
    missing = {"labels_without_rows": true.shape[1] - len(labels)}
    if not labels:
        return missing
    every, rows = micro(scores, true), int(true.any(axis=1).sum())
    values = np.array([one.value for one in labels])
    value = float(values.mean())
    error = _error(np.mean([one.derivative for one in labels], axis=0))
    weights, counts = np.full(len(values), 1 / len(values)), true.sum(axis=0)
    closed = intervals.mean(
        weights, values, *wilson(values * counts[counts > 0], counts[counts > 0], confidence)
    )
    return {
        "micro_average_precision": every.value,
        "micro_average_precision_interval": widest(
            _of_odds(every.value, _error(every.derivative), confidence),
            _ends(wilson(every.value * rows, rows, confidence)),
        ),
        "macro_average_precision": value,
        "macro_average_precision_interval": widest(
            _of_odds(value, error, confidence), (max(0.0, closed[0]), min(1.0, closed[1]))
        ),
    } | missing


def _error(derivative: Floats) -> float:
    """Return the standard error from the derivatives of rows, (n,), which sum to 0."""
    rows = len(derivative)
    return float(np.sqrt((derivative**2).sum() * rows / max(rows - 1, 1)))


def _of_odds(value: float, error: float, confidence: float) -> tuple[float, float]:
    """Return the ends of an interval that is symmetric in log-odds; the value itself if it is 0 or 1."""
    if not 0 < value < 1:
        return value, value
    centre, half = np.log(value / (1 - value)), normal(confidence) * error / (value * (1 - value))
    low, high = (1 / (1 + np.exp(-end)) for end in (centre - half, centre + half))
    return float(low), float(high)


def _ends(ends: tuple[Any, Any]) -> tuple[float, float]:
    return float(ends[0]), float(ends[1])
