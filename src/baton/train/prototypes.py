"""Classify by the nearest class mean, as the weights of a linear head.

Prototypical networks (Snell et al. 2017, arXiv:1703.05175): a class's logit is the negative squared distance
of the features to its mean, which is linear in the features up to a term that all classes share (its
equation 8). Inputs: features and labels -> weight and bias.
"""

import numpy as np
from numpy.typing import NDArray

from baton.train.probe import UNSEEN, Probe


def fit(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    classes: int,
    weights: NDArray[np.float32] | None = None,
) -> Probe:
    """Return the head of the class means of `features` (rows, width).

    Distances are in units of the variance within classes, so that logits are those of a Gaussian of that
    variance around each mean.

    Args:
        features: of the frozen encoder, pooled.
        labels: (rows,).
        classes: number of logits; a class without rows gets a bias that no sample overcomes.
        weights: of the rows (rows,); None: all equal.
    """
    own = np.ones(len(labels)) if weights is None else weights.astype(np.float64)
    read = features.astype(np.float64)
    centre = np.average(read, axis=0, weights=own)  # numbers far from 0 would cost precision
    means, known = np.zeros((classes, read.shape[1])), np.zeros(classes, bool)
    for label in np.unique(labels):
        rows = labels == label
        known[label] = own[rows].sum() > 0
        if known[label]:
            means[label] = np.average(read[rows] - centre, axis=0, weights=own[rows])
    spread = float(np.average((read - centre - means[labels]) ** 2, axis=0, weights=own).mean())
    rest = len(labels) - int(known.sum())  # degrees of freedom
    variance = spread * len(labels) / rest if rest > 0 and spread > 0 else 1.0
    weight = means / variance
    bias = -(means**2).sum(axis=1) / (2 * variance) - weight @ centre
    # The mean of the other logits is never above the highest of them.
    weight[~known], bias[~known] = weight[known].mean(axis=0), bias[known].mean() + UNSEEN
    return Probe(weight.astype(np.float32), bias.astype(np.float32), 1.0)
