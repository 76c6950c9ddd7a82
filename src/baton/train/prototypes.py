"""Classify by the direction of the nearest class mean, as the weights of a linear head.

Features are centred, and only their directions count: a class's logit is the cosine with the mean of its
rows' directions (prototypical networks, Snell et al. 2017, arXiv:1703.05175, with the features centred and
of unit length as in SimpleShot, Wang et al. 2019, arXiv:1911.04623, section 3.1). The length of a sample's
features is the same for all classes, so the head is linear. Inputs: features and labels -> weight and bias.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from baton.train.probe import UNSEEN, Probe

Floats = NDArray[np.float64]
TINY = 1e-9
SCALES = (1e-2, 1e3)  # of the logits


def fit(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    classes: int,
    cuts: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]],
    weights: NDArray[np.float32] | None = None,
) -> Probe:
    """Return the head of the class means of `features` (rows, width).

    Cosines are multiplied by one number, which makes the log loss over `cuts` the lowest (temperature
    scaling, Guo et al. 2017, arXiv:1706.04599, on rows that the means have not seen). It changes no answer.
    The targets are smoothed as Platt's (1999, Probabilistic outputs for support vector machines, section
    2.2): few rows that are all right do not show that none is ever wrong.

    Args:
        features: of the frozen encoder, pooled.
        labels: (rows,).
        classes: number of logits; a class without rows gets a bias that no sample overcomes.
        cuts: (rows to fit on, rows to score on), from `batches.subset.folds`.
        weights: of the rows (rows,); None: all equal.
    """
    own = np.ones(len(labels)) if weights is None else weights.astype(np.float64)
    read = features.astype(np.float64)
    weight, bias, known = _nearest(read, labels, classes, own)
    scale = _scale(read, labels, classes, own, cuts)
    weight, bias = scale * weight, scale * bias
    # The mean of the other logits is never above the highest of them.
    weight[~known], bias[~known] = weight[known].mean(axis=0), bias[known].mean() + UNSEEN
    return Probe(weight.astype(np.float32), bias.astype(np.float32), 1.0)


def _nearest(
    read: Floats, labels: NDArray[np.int64], classes: int, own: Floats
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Return weight and bias that give a sample of average length cosines, and which classes have rows."""
    shares = own[:, None] * (labels[:, None] == np.arange(classes))  # (rows, classes)
    known = shares.sum(axis=0) > 0
    shares /= np.where(known, shares.sum(axis=0), 1.0)  # each class counts the same in the centre
    centre = (shares.T @ read)[known].mean(axis=0)
    lengths = np.linalg.norm(read - centre, axis=1)
    means = _unit(shares.T @ _unit(read - centre))  # (classes, width)
    weight = means / max(float(np.average(lengths, weights=own)), TINY)
    return weight, -weight @ centre, known


def _scale(
    read: Floats,
    labels: NDArray[np.int64],
    classes: int,
    own: Floats,
    cuts: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]],
) -> float:
    """Return the scale of logits with the lowest log loss over `cuts`; 1 if no row can be scored."""
    from scipy.optimize import minimize_scalar
    from scipy.special import logsumexp

    logits, chosen, counted = [], [], []
    for fitted, left in (cut for cut in cuts if len(cut[0])):
        weight, bias, known = _nearest(read[fitted], labels[fitted], classes, own[fitted])
        scored = left[known[labels[left]]]
        logits.append(np.where(known, read[scored] @ weight.T + bias, -np.inf))
        chosen.append(labels[scored])
        counted.append(own[scored])
    if not sum(map(len, chosen)) or len(np.unique(labels)) == 1:
        return 1.0
    told, right, share = np.concatenate(logits), np.concatenate(chosen), np.concatenate(counted)
    sure = 1 - 1 / (len(told) + 2)
    picked = sure * told[np.arange(len(told)), right]
    picked += (1 - sure) * np.mean(told, axis=1, where=np.isfinite(told))

    def loss(log_scale: float) -> float:
        scale = np.exp(log_scale)
        return float(np.average(logsumexp(scale * told, axis=1) - scale * picked, weights=share))

    return float(np.exp(minimize_scalar(loss, bounds=tuple(np.log(SCALES)), method="bounded").x))


def _unit(rows: Floats) -> Floats:
    made: Floats = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), TINY)
    return made
