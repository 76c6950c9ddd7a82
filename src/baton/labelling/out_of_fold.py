"""Probabilities of each row's classes from a probe that has not seen the row.

Inputs: features of a frozen encoder, which has seen no labels either, and labels -> probabilities. Rows that
belong together (`contracts.row_attributes`) are in the same fold, so a copy with the same wrong label does
not confirm it.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from baton.batches import subset
from baton.labelling import probes
from baton.labelling.probes import Labelled

FOLDS = 5


class Judged(NamedTuple):
    """Probabilities of rows."""

    probabilities: NDArray[np.float64]  # (rows, classes)
    known: NDArray[np.bool_]  # (rows,): whether the probe has seen other rows of the row's class


def judge(
    train: Labelled,
    others: NDArray[np.float32],
    labels: NDArray[np.int64],
    seed: int,
    advance: Callable[[int], None],
) -> Judged:
    """Return probabilities of the rows of `train`, followed by those of `others`.

    Those of train are out of fold; the others are judged by a probe on all of train.

    Args:
        train: the rows to fit on.
        others: features (others, width) of rows that share no unit with train, such as those of val.
        labels: their labels, (others,).
        seed: draws the folds.
        advance: called with 1 after each of the `FOLDS` + 1 probes.
    """
    probabilities = np.zeros((len(train.labels) + len(others), train.classes))
    known = np.ones(len(probabilities), np.bool_)
    cuts = subset.folds(train.labels, train.units, FOLDS, seed)
    for fitted, scored in cuts:
        made = probes.fitted(train, fitted, seed)
        probabilities[scored] = probes.probabilities(made.logits(train.features[scored]))
        known[scored] = np.isin(train.labels[scored], train.labels[fitted])
        advance(1)
    advance(FOLDS - len(cuts))
    made = probes.fitted(train, np.arange(len(train.labels)), seed)
    probabilities[len(train.labels) :] = probes.probabilities(made.logits(others))
    known[len(train.labels) :] = np.isin(labels, train.labels)
    advance(1)
    return Judged(probabilities, known)
