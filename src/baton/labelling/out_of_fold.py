"""Probabilities of each row's classes from a probe that has not seen the row.

Inputs: features of a frozen encoder, which has seen no labels either, and labels -> probabilities. Rows that
belong together (`contracts.row_attributes`) are in the same fold, so a copy with the same wrong label does
not confirm it.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from threadpoolctl import threadpool_limits

from baton.batches import subset
from baton.train import probe

FOLDS, INNER = 5, 3  # of the rows; of those that a probe is fitted on, to choose its regularisation


class Rows(NamedTuple):
    """Rows of train, and what a probe reads of them."""

    features: NDArray[np.float32]  # (rows, width)
    labels: NDArray[np.int64]  # (rows,)
    units: NDArray[np.int64]  # (rows,)
    weights: NDArray[np.float32] | None  # (rows,)

    def part(self, chosen: NDArray[np.int64]) -> "Rows":
        """Return the rows at `chosen`."""
        weights = None if self.weights is None else self.weights[chosen]
        return Rows(self.features[chosen], self.labels[chosen], self.units[chosen], weights)


class Judged(NamedTuple):
    """Probabilities of rows."""

    probabilities: NDArray[np.float64]  # (rows, classes)
    known: NDArray[np.bool_]  # (rows,): whether the probe has seen other rows of the row's class


def judge(
    train: Rows,
    others: NDArray[np.float32],
    labels: NDArray[np.int64],
    classes: int,
    seed: int,
    advance: Callable[[int], None],
) -> Judged:
    """Return probabilities of the rows of `train`, followed by those of `others`.

    Those of train are out of fold; the others are judged by a probe on all of train.

    Args:
        train: the rows to fit on.
        others: features (others, width) of rows that share no unit with train, such as those of val.
        labels: their labels, (others,).
        classes: the number of classes.
        seed: draws the folds.
        advance: called with 1 after each of the `FOLDS` + 1 probes.
    """
    probabilities = np.zeros((len(train.labels) + len(others), classes))
    known = np.ones(len(probabilities), np.bool_)
    cuts = subset.folds(train.labels, train.units, FOLDS, seed)
    for fitted, scored in cuts:
        own = train.part(fitted)
        probabilities[scored] = _probabilities(own, train.features[scored], classes, seed)
        known[scored] = np.isin(train.labels[scored], own.labels)
        advance(1)
    advance(FOLDS - len(cuts))
    probabilities[len(train.labels) :] = _probabilities(train, others, classes, seed)
    known[len(train.labels) :] = np.isin(labels, train.labels)
    advance(1)
    return Judged(probabilities, known)


def _probabilities(
    fitted: Rows, features: NDArray[np.float32], classes: int, seed: int
) -> NDArray[np.float64]:
    cuts = subset.folds(fitted.labels, fitted.units, INNER, seed)
    # On several threads small products of matrices take longer, on busy processors many times as long.
    with threadpool_limits(1):
        made = probe.fit(fitted.features, fitted.labels, classes, False, cuts, fitted.weights)
    return np.asarray(softmax(made.logits(features).astype(np.float64), axis=1))
