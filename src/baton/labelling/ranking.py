"""Rank rows by how likely their labels are wrong, by confident learning (Northcutt et al. 2021).

"Confident Learning: Estimating Uncertainty in Dataset Labels", arXiv:1911.00068, as cleanlab computes it.
Inputs: labels and out-of-fold probabilities -> an order and the labels that are probably wrong.
"""

import warnings
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from baton.labelling.out_of_fold import Judged


class Ranked(NamedTuple):
    """The rows that can be judged, the most suspicious first, and what was found of all rows."""

    order: NDArray[np.int64]  # (judged rows,): the probably wrong ones, then the others, by their score
    wrong: NDArray[np.bool_]  # (rows,): whether the label is probably wrong
    scores: NDArray[np.float64]  # (rows,): the probability of the row's own label
    suggested: NDArray[np.int64]  # (rows,): the most probable class


def rank(labels: NDArray[np.int64], judged: Judged) -> Ranked:
    """Rank rows by their labels (rows,); rows of whose class the probe has seen no other are left out.

    A label is probably wrong if it is among the least probable ones of its class, as many as the confident
    joint of given and true labels says (cleanlab's `prune_by_noise_rate`), and another is more probable.
    """
    places = np.flatnonzero(judged.known)
    own, probabilities = labels[places], judged.probabilities[places]
    wrong = np.zeros(len(labels), np.bool_)
    if len(places):
        wrong[places] = _wrong(own, probabilities)
    scores = judged.probabilities[np.arange(len(labels)), labels]
    order = places[np.lexsort((scores[places], ~wrong[places]))]
    return Ranked(order, wrong, scores, judged.probabilities.argmax(axis=1))


def _wrong(labels: NDArray[np.int64], probabilities: NDArray[np.float64]) -> NDArray[np.bool_]:
    from cleanlab.filter import find_label_issues

    with warnings.catch_warnings():  # in a class of a single row nothing is called wrong
        warnings.filterwarnings("ignore", message="May not flag all label issues", category=UserWarning)
        return np.asarray(find_label_issues(labels, probabilities, n_jobs=1))
