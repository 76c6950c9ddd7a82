"""One number that makes a classifier's probabilities honest: softmax(logits / temperature).

Inputs: logits, or log-probabilities, of validation rows and their labels -> a temperature. It leaves the order of classes alone, so labels,
accuracy and F1 do not depend on it; log loss, Brier score and calibration do (Guo et al. 2017, On calibration of modern neural networks).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from baton.tasks.metrics import check, log_probabilities

BOUND = 4.0  # of |log temperature|: a scale that is off by more than a factor of 55 is no classifier's


def fit(logits: NDArray[Any], labels: NDArray[Any]) -> float:
    """The temperature of validation `logits` (n, classes) with `labels` (n), to 6 digits, the same whatever order a processor sums in.

    It minimises the rows' summed negative log-likelihood, with one row more whose label is any class alike (as Platt 1999 smooths his
    targets). Without that row, rows that are all right would want T = 0 and claim certainty, and a handful of rows any temperature at all;
    with it n rows that are all right, each by as much, claim (n + 1/2) / (n + 1) of two classes. Of hundreds of rows with some mistakes it
    moves T by a percent or two.

    Raises:
        DataError: there are no rows, the shapes do not fit, a logit is not finite, or a label is no class.
    """
    from scipy.optimize import minimize_scalar

    check(logits, labels)
    rows, raw = np.arange(len(labels)), logits.astype(np.float64)

    def cost(log_t: float) -> float:
        log_p = log_probabilities(raw * np.exp(-log_t))
        return float(-log_p[rows, labels].sum() - log_p.mean())

    found = minimize_scalar(cost, bounds=(-BOUND, BOUND), method="bounded", options={"xatol": 1e-8})
    return float(f"{np.exp(found.x):.6g}")


def scale(logits: NDArray[Any], temperature: float) -> NDArray[np.float64]:
    """Log-probabilities (n, classes) of logits or log-probabilities (n, classes) at a temperature."""
    return log_probabilities(logits.astype(np.float64) / temperature)
