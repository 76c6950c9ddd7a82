"""Probes of rows with labels: logistic regression on features of a frozen encoder.

Inputs: features and labels -> a probe whose regularisation cross-validation has chosen, and probabilities.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from baton.batches import subset
from baton.tasks import metrics
from baton.train import probe

INNER = 3  # folds that choose a probe's regularisation


@dataclass(frozen=True)
class Labelled:
    """Rows with labels."""

    features: NDArray[np.float32]  # (rows, width)
    labels: NDArray[np.int64]  # (rows,)
    units: NDArray[np.int64]  # (rows,): rows of one unit stay together in cross-validation
    weights: NDArray[np.float32] | None  # (rows,)
    classes: int
    balanced: bool  # whether each class has the same weight


def fitted(rows: Labelled, chosen: NDArray[np.int64], seed: int) -> probe.Probe:
    """Return the probe of the rows at `chosen`; `seed` draws the folds."""
    labels = rows.labels[chosen]
    weights = None if rows.weights is None else rows.weights[chosen]
    cuts = subset.folds(labels, rows.units[chosen], INNER, seed)
    # On several threads small products of matrices take longer, on busy processors many times as long.
    with threadpool_limits(1):
        return probe.fit(rows.features[chosen], labels, rows.classes, rows.balanced, cuts, weights)


def probabilities(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return softmax of logits (rows, classes)."""
    return np.exp(metrics.log_probabilities(logits))
