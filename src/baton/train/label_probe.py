"""Fit a linear probe for several labels: one logistic regression per label, all at once.

Inputs: frozen features and targets -> weight and bias of a linear head; see `probe`.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from baton.train.probe import STRENGTHS, Probe

Floats = NDArray[np.float64]
STEPS = 1000  # of the optimizer


def fit(
    features: NDArray[np.float32],
    targets: NDArray[np.float32],
    balanced: bool,
    cuts: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]],
    weights: NDArray[np.float32] | None = None,
) -> Probe:
    """Fit a probe on `features` (rows, width), choosing the strength of all labels by log loss over `cuts`.

    Args:
        features: of the frozen encoder, pooled.
        targets: (rows, labels), 0 or 1; a label that no row or every row has gets a constant probability.
        balanced: whether rows with and without a label have the same weight; probabilities are corrected for
            it, as in training (`losses.label_losses`).
        cuts: (rows to fit on, rows to score on), from `batches.subset.folds`.
        weights: of the rows (rows,); None: all equal.
    """
    losses = dict.fromkeys(STRENGTHS, 0.0)
    for fitted, scored in (cut for cut in cuts if len(cut[0])):
        own = None if weights is None else weights[fitted]
        for strength in STRENGTHS:
            made = _fit(features[fitted], targets[fitted], balanced, strength, own)
            logits = made.logits(features[scored]).astype(np.float64)
            losses[strength] += float((np.logaddexp(0, logits) - logits * targets[scored]).sum())
    best = min(STRENGTHS, key=lambda strength: losses[strength])
    return _fit(features, targets, balanced, best, weights)


def _fit(
    features: NDArray[np.float32],
    targets: NDArray[np.float32],
    balanced: bool,
    strength: float,
    weights: NDArray[np.float32] | None,
) -> Probe:
    rows, labels = targets.shape
    of_rows = np.ones(rows) if weights is None else weights.astype(np.float64)
    mean, deviation = features.mean(axis=0), features.std(axis=0)
    deviation = np.where(deviation > 0, deviation, 1.0)
    counts, total = of_rows @ targets, of_rows.sum()
    bias = np.log((counts + 0.5) / (total - counts + 0.5))  # of a label whose features say nothing
    weight = np.zeros((labels, features.shape[1]))
    varies = np.flatnonzero(targets.any(axis=0) & ~targets.all(axis=0))
    if len(varies):
        true = targets[:, varies].astype(np.float64)
        ratio = (total - counts[varies]) / counts[varies] if balanced else np.ones(len(varies))
        found = _regressions(
            ((features - mean) / deviation).astype(np.float64), true, ratio, strength, of_rows
        )
        weight[varies] = found[:, :-1] / deviation
        bias[varies] = found[:, -1] - weight[varies] @ mean
    return Probe(weight.astype(np.float32), bias.astype(np.float32), strength)


def _regressions(features: Floats, true: Floats, ratio: Floats, strength: float, of_rows: Floats) -> Floats:
    """Return the coefficients and the intercept of each label, (labels, width + 1).

    They minimise half of the squared coefficients plus `strength` times the weighted log loss, as
    scikit-learn's LogisticRegression does; the problems are independent, and solving them together takes a
    fraction of the time. Rows with a label weigh `ratio` more, and its log is added to their log-odds.
    """
    from scipy.optimize import minimize

    factors = strength * of_rows[:, None] * np.where(true > 0, ratio, 1.0)  # (rows, labels)

    def cost(flat: Floats) -> tuple[float, Floats]:
        own = flat.reshape(true.shape[1], -1)
        logits = features @ own[:, :-1].T + own[:, -1] + np.log(ratio)
        loss = (factors * (np.logaddexp(0, logits) - logits * true)).sum() + (own[:, :-1] ** 2).sum() / 2
        off = factors * (np.exp(-np.logaddexp(0, -logits)) - true)  # (rows, labels)
        slope = np.concatenate([off.T @ features + own[:, :-1], off.sum(axis=0)[:, None]], axis=1)
        return float(loss), slope.ravel()

    start = np.zeros(true.shape[1] * (features.shape[1] + 1))
    found = minimize(cost, start, jac=True, method="L-BFGS-B", options={"maxiter": STEPS, "gtol": 1e-5})
    solved: Floats = found.x.reshape(true.shape[1], -1)
    return solved
