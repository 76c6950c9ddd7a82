"""Temperature scaling: one number that calibrates a classifier's probabilities.

They become softmax(logits / temperature).

Inputs: logits or log-probabilities of validation rows and their labels -> a temperature. It preserves the
order of classes, so labels, accuracy and F1 do not depend on it; log loss, Brier score and calibration do
(Guo et al. 2017, On calibration of modern neural networks).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from baton.tasks.metrics import check, log_probabilities

BOUND = 4.0  # of |log temperature|: no real classifier's scale is off by more than a factor of 55


def fit(logits: NDArray[Any], labels: NDArray[Any]) -> float:
    """Return the temperature for validation `logits` (n, classes) with `labels` (n), rounded to 6 digits.

    Rounding makes the result independent of the order in which a processor sums. The temperature minimises
    the summed negative log-likelihood of the rows plus one extra row whose label is every class with equal
    weight (as Platt 1999 smooths his targets). Without that row, a split predicted without a mistake would
    lead to T = 0 and claim certainty, and a handful of rows could lead to any temperature at all; with it, n
    rows that are all correct by the same margin claim (n + 1/2) / (n + 1) for two classes. With hundreds of
    rows and some mistakes, it moves T by a percent or two.

    Raises:
        DataError: there are no rows, the shapes do not match, a logit is not finite, or a label is not a
            class.
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
    """Return log-probabilities (n, classes) at a temperature, from logits or log-probabilities."""
    return log_probabilities(logits.astype(np.float64) / temperature)
