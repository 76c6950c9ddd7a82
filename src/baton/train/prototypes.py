"""Classify by the direction of the nearest class mean, as the weights of a linear head.

Features are centred, and only their directions count: a class's logit is the cosine with the mean of its
rows' directions (prototypical networks, Snell et al. 2017, arXiv:1703.05175, with the features centred and
of unit length as in SimpleShot, Wang et al. 2019, arXiv:1911.04623, section 3.1). The length of a sample's
features is the same for all classes, so the head is linear. Inputs: features and labels -> weight and bias.
"""

import numpy as np
from numpy.typing import NDArray

from baton.train.probe import UNSEEN, Probe

Floats = NDArray[np.float64]
TINY = 1e-9


def fit(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    classes: int,
    weights: NDArray[np.float32] | None = None,
) -> Probe:
    """Return the head of the class means of `features` (rows, width).

    Logits are those of a von Mises-Fisher distribution around each mean, all with the same concentration
    (Banerjee et al. 2005, Clustering on the unit hypersphere, JMLR 6, equation 4.4), for samples of average
    length.

    Args:
        features: of the frozen encoder, pooled.
        labels: (rows,).
        classes: number of logits; a class without rows gets a bias that no sample overcomes.
        weights: of the rows (rows,); None: all equal.
    """
    own = np.ones(len(labels)) if weights is None else weights.astype(np.float64)
    read = features.astype(np.float64)
    shares = own[:, None] * (labels[:, None] == np.arange(classes))  # (rows, classes)
    known = shares.sum(axis=0) > 0
    shares /= np.where(known, shares.sum(axis=0), 1.0)  # each class counts the same in the centre
    centre = (shares.T @ read)[known].mean(axis=0)
    lengths = np.linalg.norm(read - centre, axis=1)
    directions = _unit(read - centre)
    means = shares.T @ directions  # (classes, width)
    scale = _concentration(means, shares, own, labels) / max(float(np.average(lengths, weights=own)), TINY)
    weight = scale * _unit(means)
    bias = -weight @ centre
    # The mean of the other logits is never above the highest of them.
    weight[~known], bias[~known] = weight[known].mean(axis=0), bias[known].mean() + UNSEEN
    return Probe(weight.astype(np.float32), bias.astype(np.float32), 1.0)


def _concentration(means: Floats, shares: Floats, own: Floats, labels: NDArray[np.int64]) -> float:
    """Return the concentration of directions around their class's mean; 1 with one row of each class.

    The squared length of the mean of n directions is 1/n too large on average, which is corrected.
    """
    noise = (shares**2).sum(axis=0)  # (classes,), 1/n if rows have equal weights
    several = noise < 1 - TINY
    if not several[labels].any():
        return 1.0
    squared = ((means**2).sum(axis=1) - noise)[several] / (1 - noise[several])
    rows = np.bincount(labels, own, len(means))[several]
    length = float(np.sqrt(np.clip(np.average(squared, weights=rows), TINY, 1 - TINY)))
    return float(length * (means.shape[1] - length**2) / (1 - length**2))


def _unit(rows: Floats) -> Floats:
    made: Floats = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), TINY)
    return made
