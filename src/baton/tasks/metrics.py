"""Metrics of a classifier from its outputs on labelled rows.

Every metric is a function of sums of per-row statistics. The point estimate (sums over all rows) and each
bootstrap resample (the same sums with row counts as weights) therefore share one code path, and resampling is
a matrix product.

Inputs: log-probabilities or logits (n, classes) and labels (n) -> accuracy, macro_f1, weighted_f1,
balanced_accuracy, mcc, log_loss, brier, ece, and with many classes top5_accuracy.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from baton.contracts.ragged import Ragged
from baton.errors import DataError

BINS = 15  # as in Guo et al. 2017; evaluation takes the number of bins from params
FIGURES = (
    "accuracy",
    "macro_f1",
    "weighted_f1",
    "balanced_accuracy",
    "mcc",
    "log_loss",
    "brier",
    "ece",
    "top5_accuracy",
)
# Computed by evaluation; not functions of sums.
MORE_FIGURES = ("skill", "errors_removed", "auroc", "average_precision")
TOP, FEW = 5, 10  # with few classes, being among the top five says little
# As in scikit-learn's log_loss: a single mistake at full confidence must not make the mean infinite.
FLOOR = float(np.log(np.finfo(np.float64).eps))

AT_ONCE = 2_000_000  # probabilities in a block: 16 MB

Floats = NDArray[np.float64]
Integers = NDArray[np.integer[Any]]
Statistics = Any  # a sparse matrix (scipy.sparse.csr_array), which is untyped


def scores(logits: ArrayLike, labels: ArrayLike, bins: int = BINS) -> dict[str, float]:
    """Return the `figures` of `logits` (n, classes) for `labels` (n).

    Raises:
        DataError: a logit is not finite, the shapes do not match, or a label is not a class.
    """
    raw, true = np.asarray(logits), np.asarray(labels)
    check(raw, true)
    log_p = log_probabilities(raw)
    sums = statistics(true, log_p.argmax(axis=1), raw.shape[1], log_p, bins).sum(axis=0)
    return {name: float(value) for name, value in figures(sums, raw.shape[1]).items()}


def check_finite(logits: NDArray[Any], advice: str = "") -> None:
    """Refuse logits that are not finite; `advice` is what else may help besides a lower learning rate.

    Raises:
        DataError: one is not.
    """
    if not np.isfinite(logits).all():
        raise DataError(
            "logits are not finite",
            got=f"{int((~np.isfinite(logits)).sum())} values that are NaN or infinite",
            expected="finite numbers",
            hint=f"training diverged: lower learning_rate{advice}",
        )


def check_units(logits: Ragged, targets: Ragged, what: str, units: str) -> None:
    """Refuse predictions and targets from which no figure can be computed.

    Args:
        logits: of the units of each row.
        targets: likewise.
        what: what the targets are, such as `tags`, for messages.
        units: what rows have, such as `words`, for messages.

    Raises:
        DataError: there are no rows, the numbers of units do not match, or a logit is not finite.
    """
    if not len(targets) or not np.array_equal(logits.offsets, targets.offsets):
        raise DataError(
            f"predictions do not match the {what}",
            got=f"logits of {len(logits)} rows, {len(logits.values)} {units}",
            expected=f"{len(targets)} rows, {len(targets.values)} {units} (more than none)",
            hint=f"predictions and {what} must come from the same rows and the same task.json",
        )
    check_finite(logits.values)


def check(logits: NDArray[Any], labels: NDArray[Any]) -> None:
    """Refuse predictions and labels from which no metric can be computed.

    Raises:
        DataError: there are no rows, the shapes do not match, a logit is not finite, or a label is not a
            class.
    """
    hint = "predictions and labels must come from the same rows and the same task.json"
    if logits.ndim != 2 or labels.ndim != 1 or len(logits) != len(labels) or len(labels) == 0:
        got = f"logits {logits.shape}, labels {labels.shape}"
        raise DataError(
            "predictions do not match the labels", got=got, expected="(n, classes) and (n), n > 0", hint=hint
        )
    check_finite(logits)
    if labels.min() < 0 or labels.max() >= logits.shape[1]:
        got = f"labels {labels.min()} to {labels.max()}"
        raise DataError(
            "a label is not a class of the predictions",
            got=got,
            expected=f"0 to {logits.shape[1] - 1}",
            hint=hint,
        )


def log_probabilities(logits: NDArray[Any]) -> Floats:
    """Return the log-softmax of `logits` (n, classes) in double precision."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def statistics(
    labels: Integers, predicted: Integers, classes: int, log_p: Floats | None, bins: int
) -> Statistics:
    """Return the per-row statistics whose sums `figures` reads.

    The shape is (n, 3 * classes), plus 2 + bins columns with `log_p`, plus 1 with more than `FEW` classes.
    Columns: hit, predicted and actual as one-hot classes; log loss; Brier score; confidence minus hit in the
    column of the row's bin; whether the label is among the `TOP` most probable classes (the first of equals
    wins). A row has at most seven non-zero numbers, and only these are stored.

    `log_p` (n, classes) is None for a classifier without probabilities. Confidence is the probability of the
    predicted class.
    """
    from scipy.sparse import csr_array

    hit = (labels == predicted).astype(np.float64)
    ones = np.ones(len(labels))
    columns, values = [labels, classes + predicted, 2 * classes + labels], [hit, ones, ones]
    if log_p is not None:
        loss, brier, confidence, top = _of_probabilities(labels, predicted, log_p)
        place = bin_of(confidence, bins)
        columns += [
            np.full(len(labels), 3 * classes),
            np.full(len(labels), 3 * classes + 1),
            3 * classes + 2 + place,
        ]
        values += [loss, brier, confidence - hit]
        if classes > FEW:
            columns.append(np.full(len(labels), 3 * classes + 2 + bins))
            values.append(top)
    width = 3 * classes + (0 if log_p is None else 2 + bins + (classes > FEW))
    ends = len(columns) * np.arange(len(labels) + 1)
    return csr_array(
        (np.stack(values, axis=1).ravel(), np.stack(columns, axis=1).ravel().astype(np.int32), ends),
        (len(labels), width),
    )


def losses(labels: Integers, log_p: Floats) -> Floats:
    """Return the log loss and Brier score of each row, (n, 2)."""
    return np.stack(_of_probabilities(labels, labels, log_p)[:2], axis=1)


def _of_probabilities(
    labels: Integers, predicted: Integers, log_p: Floats
) -> tuple[Floats, Floats, Floats, Floats]:
    """Return log loss, Brier score, confidence, and whether the label is among the `TOP`, each (n).

    Works in blocks of rows to limit memory.
    """
    parts = []
    step = max(1, AT_ONCE // log_p.shape[1])
    for start in range(0, len(labels), step):
        block, label, chosen = (values[start : start + step] for values in (log_p, labels, predicted))
        rows = np.arange(len(label))
        own, p = block[rows, label], np.exp(block)
        brier = (p**2).sum(axis=1) - p[rows, label] ** 2 + (1 - p[rows, label]) ** 2
        above = (block > own[:, None]) | (
            (block == own[:, None]) & (np.arange(block.shape[1]) < label[:, None])
        )  # (rows, classes)
        parts.append(np.stack([-np.maximum(own, FLOOR), brier, p[rows, chosen], above.sum(axis=1) < TOP]))
    loss, brier, confidence, top = np.concatenate(parts, axis=1)
    return loss, brier, confidence, top


def bin_of(confidence: Floats, bins: int) -> NDArray[np.intp]:
    """Return the equal-width bin ((m - 1) / bins, m / bins] of each confidence (Guo et al. 2017)."""
    return np.clip(np.ceil(confidence * bins).astype(np.intp) - 1, 0, bins - 1)


def figures(sums: Floats, classes: int, whole: Floats | None = None) -> dict[str, Floats]:
    """Return the metrics for sums (..., columns of `statistics`); each value has the leading shape of `sums`.

    - accuracy: share of rows whose predicted class is the label.
    - macro_f1, weighted_f1: mean of the per-class F1, unweighted and weighted by the rows per class. Only
      classes with a row in the test split count: which of the others a model predicts does not change the set
      of classes averaged over.
    - balanced_accuracy: mean recall of these classes.
    - mcc: Matthews correlation coefficient (for several classes: Gorodkin 2004, Comparing two K-category
      assignments by a K-category correlation coefficient); 0 if all rows have, or are assigned, one class.
    - log_loss: mean negative log-probability of the label, in nats.
    - brier: mean over rows of the sum over classes of (probability - [class is label])**2, from 0 to 2, not
      halved for two classes (Brier 1950, Verification of forecasts expressed in terms of probability).
    - ece: expected calibration error with equal-width bins: sum over bins of share of rows times |accuracy -
      mean confidence| (Guo et al. 2017, On calibration of modern neural networks).
    - top5_accuracy: share of rows whose label is among the five most probable classes; only with more than
      ten classes.

    log_loss, brier, ece and top5_accuracy are absent if the statistics were made without probabilities.

    If `sums` are those of resamples, `whole` (columns) are the sums over all rows: they define which classes
    have rows, and supply the value of a class about which a resample holds no information.
    """
    hit, chosen, actual = counts(sums, classes)
    rows = actual.sum(axis=-1)
    has_rows = actual > 0 if whole is None else counts(whole, classes)[2] > 0
    number = has_rows.sum(axis=-1)
    known = per_class(sums, classes)
    if whole is not None:
        known = {
            name: np.where(np.isnan(value), per_class(whole, classes)[name], value)
            for name, value in known.items()
        }
    f1, recall = (np.where(has_rows, known[name], 0) for name in ("f1", "recall"))
    result = {
        "accuracy": hit.sum(axis=-1) / rows,
        "macro_f1": f1.sum(axis=-1) / number,
        "weighted_f1": (f1 * actual).sum(axis=-1) / rows,
        "balanced_accuracy": recall.sum(axis=-1) / number,
        "mcc": _matthews(hit.sum(axis=-1), chosen, actual),
    }
    if sums.shape[-1] > 3 * classes:
        result["log_loss"] = sums[..., 3 * classes] / rows
        result["brier"] = sums[..., 3 * classes + 1] / rows
        gaps, top = (
            (sums[..., 3 * classes + 2 : -1], sums[..., -1])
            if classes > FEW
            else (sums[..., 3 * classes + 2 :], None)
        )
        result["ece"] = np.abs(gaps).sum(axis=-1) / rows
        if top is not None:
            result["top5_accuracy"] = top / rows
    return result


def counts(sums: Floats, classes: int) -> tuple[Floats, Floats, Floats]:
    """Return the rows of each class that are correct, predicted and labelled so, each (..., classes)."""
    hit, chosen, actual = (sums[..., k * classes : (k + 1) * classes] for k in range(3))
    return hit, chosen, actual


def per_class(sums: Floats, classes: int) -> dict[str, Floats]:
    """Return precision, recall and f1 (..., classes) from `sums` (..., columns).

    NaN if the denominator is 0: precision of a class that was never predicted, recall of a class without
    rows, f1 of a class with neither.
    """
    hit, chosen, actual = counts(sums, classes)
    with np.errstate(invalid="ignore"):
        return {"precision": hit / chosen, "recall": hit / actual, "f1": 2 * hit / (chosen + actual)}


def _matthews(right: Floats, chosen: Floats, actual: Floats) -> Floats:
    rows = actual.sum(axis=-1)
    square = (rows**2 - (chosen**2).sum(axis=-1)) * (rows**2 - (actual**2).sum(axis=-1))
    return np.asarray(
        (right * rows - (chosen * actual).sum(axis=-1)) / np.sqrt(np.where(square > 0, square, np.inf))
    )
