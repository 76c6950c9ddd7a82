"""Fit a linear probe: logistic regression on frozen features, as the weights of a linear head.

With few rows, updating every weight of a pretrained encoder is often harmful, while training a head on its
frozen features is not (Kumar et al. 2022, Fine-tuning can distort pretrained features and underperform
out-of-distribution). Inputs: features and labels -> weight and bias.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

STRENGTHS = (0.01, 0.1, 1.0, 10.0)  # C, for features scaled to variance 1
UNSEEN = -30.0  # bias, in logits, of a class without rows


@dataclass(frozen=True)
class Probe:
    """A linear head: logits = features @ weight.T + bias."""

    weight: NDArray[np.float32]  # (classes, width)
    bias: NDArray[np.float32]  # (classes,)
    strength: float  # C, the inverse of the regularisation

    def logits(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the logits: (rows, width) -> (rows, classes)."""
        return np.asarray(features @ self.weight.T + self.bias)


def fit(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    classes: int,
    balanced: bool,
    cuts: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]],
    weights: NDArray[np.float32] | None = None,
) -> Probe:
    """Fit a probe on `features` (rows, width), choosing its strength by the log loss over `cuts`.

    Args:
        features: of the frozen encoder, pooled.
        labels: (rows,).
        classes: number of logits; a class without rows gets a bias that no sample overcomes.
        balanced: whether each class has the same weight.
        cuts: (rows to fit on, rows to score on), from `batches.subset.folds`.
        weights: of the rows (rows,); None: all equal.
    """
    losses = dict.fromkeys(STRENGTHS, 0.0)
    for fitted, scored in (cut for cut in cuts if len(cut[0])):
        for strength in STRENGTHS:
            own = None if weights is None else weights[fitted]
            made = _fit(features[fitted], labels[fitted], classes, balanced, strength, own)
            logits = made.logits(features[scored]).astype(np.float64)
            highest = logits.max(axis=1)
            chosen = logits[np.arange(len(scored)), labels[scored]]
            losses[strength] += float(
                (np.log(np.exp(logits - highest[:, None]).sum(axis=1)) + highest - chosen).sum()
            )
    # Of equal losses the smallest strength: the most regularised probe.
    best = min(STRENGTHS, key=lambda strength: losses[strength])
    return _fit(features, labels, classes, balanced, best, weights)


def of_directions(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    classes: int,
    balanced: bool,
    weights: NDArray[np.float32] | None = None,
) -> Probe:
    """Fit logistic regression on `features` of unit length, with a strength of 1, as SetFit's head.

    For features whose directions were trained (Tunstall et al. 2022, arXiv:2209.11055, section 3). Rows that
    trained them would all choose the weakest regularisation. The head is that of samples of average length.
    The arguments are those of `fit`.
    """
    lengths = np.maximum(np.linalg.norm(features, axis=1), np.finfo(np.float32).tiny)
    weight, bias = _regression(features / lengths[:, None], labels, classes, balanced, 1.0, weights)
    weight /= np.average(lengths, weights=weights)
    return Probe(weight.astype(np.float32), bias.astype(np.float32), 1.0)


def _fit(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    classes: int,
    balanced: bool,
    strength: float,
    weights: NDArray[np.float32] | None,
) -> Probe:
    mean, deviation = features.mean(axis=0), features.std(axis=0)
    deviation = np.where(deviation > 0, deviation, 1.0)
    scaled = (features - mean) / deviation
    weight, bias = _regression(scaled, labels, classes, balanced, strength, weights)
    weight /= deviation
    bias -= weight @ mean
    return Probe(weight.astype(np.float32), bias.astype(np.float32), strength)


def _regression(
    rows: NDArray[np.float32],
    labels: NDArray[np.int64],
    classes: int,
    balanced: bool,
    strength: float,
    weights: NDArray[np.float32] | None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return weight (classes, width) and bias (classes,) of a logistic regression on `rows` (rows, width)."""
    from sklearn.linear_model import LogisticRegression

    weight, bias = np.zeros((classes, rows.shape[1])), np.full(classes, UNSEEN)
    known = np.unique(labels)
    if len(known) == 1:  # a fold with few rows may have a single class
        bias[known] = 0.0
        return weight, bias
    model = LogisticRegression(C=strength, max_iter=5000, class_weight="balanced" if balanced else None)
    model.fit(rows, labels, weights)
    own, shift = model.coef_, model.intercept_  # (classes or 1, width)
    if len(own) == 1:  # two classes: one logit, the second's over the first's
        own, shift = np.concatenate([-own / 2, own / 2]), np.concatenate([-shift / 2, shift / 2])
    weight[model.classes_], bias[model.classes_] = own, shift
    return weight, bias
