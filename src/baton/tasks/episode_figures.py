"""Few-shot accuracy: queries of episodes are classified by the nearest mean of a class's support.

Inputs: features of rows, and the rows of each episode -> the accuracy and loss of each episode; the interval
of their mean. The classifier is that of prototypical networks (Snell et al. 2017, arXiv:1703.05175).
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95


class Scores(NamedTuple):
    """The figures of each episode."""

    accuracies: NDArray[np.float64]  # (episodes,)
    losses: NDArray[np.float64]  # (episodes,), mean cross-entropy over negative squared distances


def scores(features: NDArray[np.float32], episodes: Iterable[NDArray[np.int64]], shots: int) -> Scores:
    """Score episodes by squared Euclidean distances of features as they are, in fp64.

    Args:
        features: of all rows, (rows, width).
        episodes: the rows of each, (way, rows of a class): first the support, then the queries.
        shots: rows of the support of each class.
    """
    found = [_scored(features[episode].astype(np.float64), shots) for episode in episodes]
    return Scores(*np.array(found).reshape(-1, 2).T)


def half_width(values: NDArray[np.float64]) -> float:
    """Return half the width of the 95% interval of the mean of `values` (count,), Student's t."""
    from scipy import stats

    quantile = stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)
    return float(quantile * values.std(ddof=1) / np.sqrt(len(values)))


def _scored(classes: NDArray[np.float64], shots: int) -> tuple[float, float]:
    """Return accuracy and loss of an episode's features, (way, rows, width); of equal classes the first."""
    prototypes, queries = classes[:, :shots].mean(axis=1), classes[:, shots:]
    width = classes.shape[-1]
    logits = -((queries.reshape(-1, 1, width) - prototypes) ** 2).sum(axis=-1)  # (way * queries, way)
    labels = np.repeat(np.arange(len(classes)), queries.shape[1])
    highest = logits.max(axis=1)
    log_sum = np.log(np.exp(logits - highest[:, None]).sum(axis=1)) + highest
    losses = log_sum - logits[np.arange(len(labels)), labels]
    return float((logits.argmax(axis=1) == labels).mean()), float(losses.mean())
