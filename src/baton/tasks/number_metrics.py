"""Figures of predicted numbers, each per number and equal to that of scikit-learn or SciPy.

Inputs: targets and values (n, width), both in the numbers' units -> (width,) per figure.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baton.errors import DataError
from baton.tasks.metrics import check_finite

Floats = NDArray[np.float64]

IN_UNITS = ("mae", "rmse")  # figures that are in a number's unit


def mae(targets: Floats, values: Floats) -> Floats:
    """Return the mean absolute error, in the number's unit."""
    return np.asarray(np.abs(values - targets).mean(axis=0))


def rmse(targets: Floats, values: Floats) -> Floats:
    """Return the root of the mean squared error, in the number's unit."""
    return np.asarray(np.sqrt(((values - targets) ** 2).mean(axis=0)))


def r2(targets: Floats, values: Floats) -> Floats:
    """Return the share of the targets' variance that is explained; below 0 if their mean explains more.

    If the targets are constant it is 1 without an error and else 0, as in scikit-learn.
    """
    return explained(
        ((values - targets) ** 2).sum(axis=0), ((targets - targets.mean(axis=0)) ** 2).sum(axis=0)
    )


def explained(residual: Floats, total: Floats) -> Floats:
    """Return R2 from sums of squares; see `r2` where `total` is 0."""
    some = np.where(total > 0, total, 1.0)
    return np.asarray(np.where(total > 0, 1 - residual / some, np.where(residual > 0, 0.0, 1.0)))


def pearson(targets: Floats, values: Floats) -> Floats:
    """Return the linear correlation; 0 if either side is constant."""
    return np.array([_correlation(own, other) for own, other in zip(targets.T, values.T, strict=True)])


def spearman(targets: Floats, values: Floats) -> Floats:
    """Return the correlation of ranks, equal values having their mean rank; 0 if either side is constant."""
    from scipy.stats import rankdata

    return pearson(rankdata(targets, axis=0), rankdata(values, axis=0))


FIGURES: Mapping[str, Callable[[Floats, Floats], Floats]] = {
    "mae": mae,
    "rmse": rmse,
    "r2": r2,
    "spearman": spearman,
    "pearson": pearson,
}


def averaged(figure: str, values: Floats, units: Sequence[float]) -> Floats:
    """Return the mean over numbers, the last axis of `values`; errors are divided by `units` first."""
    return np.asarray((values / np.array(units) if figure in IN_UNITS else values).mean(axis=-1))


def check(logits: NDArray[Any], targets: NDArray[Any]) -> None:
    """Refuse predictions and targets from which no figure can be computed.

    Raises:
        DataError: there are no rows, the shapes do not match, or a number is not finite.
    """
    if logits.ndim != 2 or logits.shape != targets.shape or not len(logits):
        raise DataError(
            "predictions do not match the numbers",
            got=f"logits {logits.shape}, targets {targets.shape}",
            expected="both (n, numbers), n > 0",
            hint="predictions and numbers must come from the same rows and the same task.json",
        )
    check_finite(logits, ", or set task.loss to smooth_l1")


def _correlation(first: Floats, second: Floats) -> float:
    one, other = first - first.mean(), second - second.mean()
    # Dividing by the lengths one after the other keeps the product of tiny ones above 0.
    lengths = float(np.sqrt((one**2).sum())), float(np.sqrt((other**2).sum()))
    if not np.ptp(first) or not np.ptp(second):
        return 0.0
    return float(np.clip((one / lengths[0]) @ (other / lengths[1]), -1.0, 1.0))
