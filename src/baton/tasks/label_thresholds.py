"""The probability from which a label is predicted: one threshold per label, fitted on validation rows.

F1 is not best at a probability of 1/2: of calibrated probabilities the best threshold is half of the best F1
(Lipton, Elkan and Naryanaswamy 2014, Optimal thresholding of classifiers to maximize F1 measure). A threshold
for each label (SCut) overfits labels with few positive rows (Yang 2001, A study on thresholding strategies
for text categorization; Lewis et al. 2004, RCV1). Each label is therefore judged together with `BORROWED`
positives that decide as all labels together do: a label with few positives gets about the threshold that is
best for all labels, and one with many its own.

Inputs: logits (n, labels) and targets (n, labels) 0 or 1 -> thresholds, as logits.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

BORROWED = 50.0  # positives
SAME = 1e-12  # smaller differences of F1 are rounding errors


class Counts(NamedTuple):
    """What is predicted from each of some thresholds on, each (thresholds,)."""

    hit: Floats
    chosen: Floats


class Decisions:
    """Scores of decisions and whether they are positive, in descending order of the scores."""

    def __init__(self, scores: Floats, positive: NDArray[np.bool_]) -> None:
        """Sort `scores` (m,) and `positive` (m,)."""
        order = np.argsort(scores, kind="stable")
        self.ascending = scores[order]
        self.hits = np.concatenate([[0.0], np.cumsum(positive[order][::-1], dtype=np.float64)])
        self.positives = float(self.hits[-1])

    def counts(self, thresholds: Floats) -> Counts:
        """Return the decisions whose score is at least each of the thresholds."""
        chosen = len(self.ascending) - np.searchsorted(self.ascending, thresholds, side="left")
        return Counts(self.hits[chosen], chosen.astype(np.float64))

    def candidates(self, default: float) -> Floats:
        """Return thresholds between neighbouring scores, beyond both ends, and the default."""
        distinct = np.unique(self.ascending)
        ends = [distinct[:1] - 1, distinct[-1:] + 1]
        return np.concatenate([(distinct[1:] + distinct[:-1]) / 2, *ends, [default]])


def common(logits: Floats, targets: NDArray[np.bool_], default: float = 0.0) -> float:
    """Return the one threshold of all labels that is best for micro F1.

    It is `default` (a probability of 1/2) if there is no positive; of equally good ones, the nearest to that.
    """
    return _common(Decisions(logits.ravel(), targets.ravel()), default)


def fit(logits: Floats, targets: NDArray[np.bool_]) -> Floats:
    """Return a threshold for each label, (labels,).

    That of a label is the best for its F1 together with `BORROWED` positives of all labels: for hits h,
    predictions c and positives a of the label at a threshold, H, C and A of all labels, and m = `BORROWED`,
    it is largest in 2 (h + m H / A) / (c + m C / A + a + m).
    """
    everything = Decisions(logits.ravel(), targets.ravel())
    middle = _common(everything, 0.0)
    if not everything.positives:
        return np.full(logits.shape[1], middle)
    share, found = BORROWED / everything.positives, np.empty(logits.shape[1])
    for place, (scores, positive) in enumerate(zip(logits.T, targets.T, strict=True)):
        own = Decisions(scores, positive)
        tried = own.candidates(middle)
        label, others = own.counts(tried), everything.counts(tried)
        both = label.chosen + share * others.chosen + own.positives + BORROWED
        found[place] = _best(tried, 2 * (label.hit + share * others.hit) / both, middle)
    return found


def crossed(logits: Floats, targets: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which labels are predicted on validation, (n, labels), without having seen a row's own labels.

    The thresholds of every second row are fitted on the others, and theirs on these (Stone 1974,
    Cross-validatory choice and assessment of statistical predictions). On the rows that they were fitted on,
    thresholds look several points better than on new ones, the more the poorer the model.
    """
    predicted, second = np.zeros(logits.shape, bool), np.arange(len(logits)) % 2 == 1
    for own in (second, ~second):
        predicted[own] = logits[own] >= fit(logits[~own], targets[~own])
    return predicted


def _common(decisions: Decisions, default: float) -> float:
    if not decisions.positives:
        return default
    tried = decisions.candidates(default)
    own = decisions.counts(tried)
    return _best(tried, 2 * own.hit / (own.chosen + decisions.positives), default)


def _best(thresholds: Floats, f1: Floats, default: float) -> float:
    """Return the threshold of the largest F1, of equal ones the nearest to the default."""
    equal = thresholds[f1 >= f1.max() - SAME]
    return float(equal[np.abs(equal - default).argmin()])
