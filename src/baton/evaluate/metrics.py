"""Figures of a classifier from its outputs on labelled rows.

Every figure is a function of sums of per-row statistics. So the point estimate (sums over all rows) and each bootstrap resample (the same
sums with row counts as weights) are computed by one and the same code, and resampling is a matrix product.

Inputs: log-probabilities or logits (n, classes) and labels (n) -> accuracy, macro_f1, weighted_f1, log_loss, brier, ece, and with many
classes top5_accuracy.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from baton.errors import DataError

BINS = 15  # as in Guo et al. 2017; evaluation takes its number from params
FIGURES = ("accuracy", "macro_f1", "weighted_f1", "log_loss", "brier", "ece", "top5_accuracy")
TOP, FEW = 5, 10  # with so few classes, being among the five best says little
FLOOR = float(np.log(np.finfo(np.float64).eps))  # as scikit-learn's log_loss: one certain mistake must not make the mean infinite

Floats = NDArray[np.float64]
Integers = NDArray[np.integer[Any]]


def scores(logits: ArrayLike, labels: ArrayLike, bins: int = BINS) -> dict[str, float]:
    """Return the `figures` of `logits` (n, classes) for `labels` (n).

    Raises:
        DataError: a logit is not finite, the shapes do not fit, or a label is no class.
    """
    raw, true = np.asarray(logits), np.asarray(labels)
    check(raw, true)
    log_p = log_probabilities(raw)
    sums = statistics(true, log_p.argmax(axis=1), raw.shape[1], log_p, bins).sum(axis=0)
    return {name: float(value) for name, value in figures(sums, raw.shape[1]).items()}


def check(logits: NDArray[Any], labels: NDArray[Any]) -> None:
    """Refuse what no figure can be computed from.

    Raises:
        DataError: there are no rows, the shapes do not fit, a logit is not finite, or a label is no class.
    """
    hint = "the predictions and the labels must come from the same rows and the same labels.json"
    if logits.ndim != 2 or labels.ndim != 1 or len(logits) != len(labels) or len(labels) == 0:
        got = f"logits {logits.shape}, labels {labels.shape}"
        raise DataError("predictions do not fit the labels", got=got, expected="(n, classes) and (n), n > 0", hint=hint)
    if not np.isfinite(logits).all():
        got = f"{int((~np.isfinite(logits)).sum())} values that are NaN or infinite"
        raise DataError("logits are not finite", got=got, expected="finite numbers", hint="the training diverged: lower its learning_rate")
    if labels.min() < 0 or labels.max() >= logits.shape[1]:
        got = f"labels {labels.min()} to {labels.max()}"
        raise DataError("a label is no class of the predictions", got=got, expected=f"0 to {logits.shape[1] - 1}", hint=hint)


def log_probabilities(logits: NDArray[Any]) -> Floats:
    """Log-softmax of `logits` (n, classes) in double precision."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def statistics(labels: Integers, predicted: Integers, classes: int, log_p: Floats | None, bins: int) -> Floats:
    """Per-row statistics (n, 3 * classes, and with `log_p` + 2 + bins, and + 1 with more than `FEW` classes) whose sums `figures` reads.

    Columns: hit, predicted and actual as one-hot classes; log loss; Brier score; confidence minus hit in the column of the row's bin;
    whether the label is among the `TOP` most probable classes (of equals the first).
    `log_p` (n, classes) is None for a classifier without probabilities. Confidence is the probability of the predicted class.
    """
    rows = np.arange(len(labels))
    actual, chosen = np.eye(classes)[labels], np.eye(classes)[predicted]  # (n, classes)
    hit = actual * chosen
    if log_p is None:
        return np.hstack([hit, chosen, actual])
    p = np.exp(log_p)
    loss = -np.maximum(log_p[rows, labels], FLOOR)[:, None]  # (n, 1)
    brier = ((p - actual) ** 2).sum(axis=1, keepdims=True)  # (n, 1)
    confidence = p[rows, predicted]
    gap = np.zeros((len(labels), bins))
    gap[rows, bin_of(confidence, bins)] = confidence - (labels == predicted)
    columns = [hit, chosen, actual, loss, brier, gap]
    if classes > FEW:
        own = log_p[rows, labels][:, None]  # (n, 1)
        before = (log_p > own) | ((log_p == own) & (np.arange(classes) < labels[:, None]))  # (n, classes)
        columns.append(before.sum(axis=1, keepdims=True) < TOP)
    return np.hstack(columns)


def bin_of(confidence: Floats, bins: int) -> NDArray[np.intp]:
    """Index of the equal-width bin ((m - 1) / bins, m / bins] that holds each confidence (Guo et al. 2017)."""
    return np.clip(np.ceil(confidence * bins).astype(np.intp) - 1, 0, bins - 1)


def figures(sums: Floats, classes: int) -> dict[str, Floats]:
    """Figures from sums (..., columns of `statistics`); each value has the leading shape of `sums`.

    - accuracy: share of rows whose predicted class is the label.
    - macro_f1, weighted_f1: mean of the classes' F1, plain and weighted by the classes' rows. A class that is neither a label nor
      predicted in the rows counts in neither (as in scikit-learn).
    - log_loss: mean negative log-probability of the label, in nats.
    - brier: mean over rows of the sum over classes of (probability - [class is label])**2, from 0 to 2, not halved for two classes
      (Brier 1950, Verification of forecasts expressed in terms of probability).
    - ece: expected calibration error with equal-width bins: sum over bins of share of rows times |accuracy - mean confidence|
      (Guo et al. 2017, On calibration of modern neural networks).

    - top5_accuracy: share of rows whose label is among the five most probable classes; only with more than ten classes.

    log_loss, brier, ece and top5_accuracy are absent where the statistics were made without probabilities.
    """
    hit, chosen, actual = (sums[..., k * classes : (k + 1) * classes] for k in range(3))  # (..., classes)
    rows = actual.sum(axis=-1)
    occurring = (chosen + actual) > 0
    f1 = 2 * hit / np.where(occurring, chosen + actual, 1)
    result = {
        "accuracy": hit.sum(axis=-1) / rows,
        "macro_f1": f1.sum(axis=-1) / occurring.sum(axis=-1),
        "weighted_f1": (f1 * actual).sum(axis=-1) / rows,
    }
    if sums.shape[-1] > 3 * classes:
        result["log_loss"] = sums[..., 3 * classes] / rows
        result["brier"] = sums[..., 3 * classes + 1] / rows
        gaps, top = (sums[..., 3 * classes + 2 : -1], sums[..., -1]) if classes > FEW else (sums[..., 3 * classes + 2 :], None)
        result["ece"] = np.abs(gaps).sum(axis=-1) / rows
        if top is not None:
            result["top5_accuracy"] = top / rows
    return result
