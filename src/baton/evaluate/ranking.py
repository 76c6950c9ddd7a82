"""Ranking quality of probabilities, independent of a threshold: AUROC and average precision.

Inputs: log-probabilities (n, classes) and labels (n) -> figures. With two classes they are those of the
second; with more, the mean over the classes that have rows, each against the rest. With more than two classes
the order of rows depends on the temperature of the probabilities.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from baton.evaluate import intervals
from baton.evaluate.proportions import normal

Floats = NDArray[np.float64]


def figures(labels: NDArray[Any], log_p: Floats, confidence: float) -> dict[str, float | list[float]]:
    """Return `auroc` with `auroc_interval`, and `average_precision`; empty if all rows have one class.

    The interval of a mean over classes treats the classes as independent. Average precision has no interval:
    no closed form holds for classes with few rows, and a bootstrap collapses if they all rank first.
    """
    from scipy.stats import rankdata
    from sklearn.metrics import average_precision_score

    rows = np.bincount(labels, minlength=log_p.shape[1])
    classes = [1] if log_p.shape[1] == 2 else np.flatnonzero(rows)
    if np.count_nonzero(rows) < 2:
        return {}
    areas, ends, precisions = [], [], []
    for k in classes:
        own, positive = labels == k, int(rows[k])
        negative = len(labels) - positive
        area = float(
            (rankdata(log_p[:, k])[own].sum() - positive * (positive + 1) / 2) / (positive * negative)
        )
        areas.append(area)
        ends.append(area_interval(area, positive, negative, confidence))
        precisions.append(float(average_precision_score(own, log_p[:, k])))
    low, high = np.array(ends).T
    value, weights = float(np.mean(areas)), np.full(len(areas), 1 / len(areas))
    bounds = intervals.mean(weights, np.array(areas), low, high)
    return {
        "auroc": value,
        "auroc_interval": [max(0.0, bounds[0]), min(1.0, bounds[1])],
        "average_precision": float(np.mean(precisions)),
    }


def area_interval(area: float, positive: int, negative: int, confidence: float) -> tuple[float, float]:
    """Return low and high of an AUROC over `positive` and `negative` rows.

    These are the areas whose standard error puts the measured one within the quantile.

    Newcombe 2006, Confidence intervals for an effect size measure based on the Mann-Whitney statistic, part
    2, method 5. It does not collapse at 1.
    """
    quantile, half = normal(confidence), (positive + negative) / 2 - 1

    def off(theta: float) -> float:
        spread = (
            theta
            * (1 - theta)
            * (1 + half * ((1 - theta) / (2 - theta) + theta / (1 + theta)))
            / (positive * negative)
        )
        return abs(area - theta) - quantile * float(np.sqrt(spread))

    near = 1e-9  # keeps away from the measured area, which is itself a root if it is 0 or 1
    low = float(brentq(off, 0, area * (1 - near))) if area > 0 else 0.0
    return low, float(brentq(off, area + (1 - area) * near, 1)) if area < 1 else 1.0
