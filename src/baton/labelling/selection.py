"""The rows without labels that are most worth labelling: uncertain, and unlike each other.

Diverse mini-batch active learning (Zhdanov 2019, arXiv:1901.05954): of the rows about which a model is least
certain, k-means with these uncertainties as weights makes as many clusters as rows are wanted, and of each
the row nearest to the centre is taken. Uncertainty alone would take many rows that teach the same. Inputs:
features and probabilities -> places of rows, first those of the clusters that weigh most.
"""

import numpy as np
from numpy.typing import NDArray

CANDIDATES = 10  # times the rows that are wanted (beta in the paper)


def uncertainty(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 1 - margin of each row, (rows,): 0 if one class is certain, 1 if the first two are equal.

    The margin is that of the two largest of `shares` (rows, classes), probabilities.
    """
    two = np.partition(shares, -2, axis=1)[:, -2:]
    return np.asarray(1 - (two[:, 1] - two[:, 0]))


def choose(
    features: NDArray[np.float32], shares: NDArray[np.float64], count: int, seed: int
) -> NDArray[np.int64]:
    """Return `count` rows to label (or all, if there are fewer), the most valuable first. Deterministic.

    Args:
        features: of the rows without labels, (rows, width).
        shares: the probability of each class, (rows, classes), by a model of the rows with labels.
        count: how many to return.
        seed: of the first centres.
    """
    unsure = uncertainty(shares)
    candidates = np.argsort(-unsure, kind="stable")[: max(CANDIDATES * count, 1)]
    if len(candidates) <= count:
        return candidates
    # A row about which the model is sure has some weight, so that all weights are positive.
    weights = unsure[candidates] + np.finfo(np.float32).eps
    directions = _directions(features)[candidates]
    cluster, distance = _clusters(directions, weights, count, seed)
    order = np.lexsort((distance, cluster))
    nearest = order[np.unique(cluster[order], return_index=True)[1]]  # the first of each cluster
    mass = np.bincount(cluster, weights, minlength=count)[cluster[nearest]]
    chosen = nearest[np.argsort(-mass, kind="stable")]
    # Equal rows leave clusters empty: the least certain of the others take their place.
    others = np.setdiff1d(np.arange(len(candidates)), chosen)[: count - len(chosen)]
    return np.asarray(candidates[np.concatenate([chosen, others])], np.int64)


def _clusters(
    rows: NDArray[np.float64], weights: NDArray[np.float64], count: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return each row's cluster (rows,) by weighted k-means, and its distance from the centre (rows,)."""
    import warnings

    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer different rows than clusters
        made = KMeans(count, n_init=1, random_state=seed).fit(rows, sample_weight=weights)
    return made.labels_, np.linalg.norm(rows - made.cluster_centers_[made.labels_], axis=1)


def _directions(features: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return features less their mean, of unit length: those of an encoder lie in a narrow cone."""
    centred = features.astype(np.float64) - features.mean(axis=0)
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.asarray(centred / np.maximum(lengths, np.finfo(np.float32).tiny))
