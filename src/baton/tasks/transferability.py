"""LogME: how well the features of an encoder suit the targets of a task, without training.

It is the logarithm of the maximum evidence (marginal likelihood) of a Bayesian linear model of the targets on
the features, per row: the highest value, over the precision `alpha` of the weights and `beta` of the noise,
of the density of the targets with the weights integrated out. Only values for the same rows can be compared:
the encoder with the higher one is predicted to be the better base model.

You et al. 2021, LogME: practical assessment of pre-trained models for transfer learning (arXiv:2102.11005),
Algorithm 1; You et al. 2022, Ranking and tuning pre-trained models (JMLR 23), whose iteration over
alpha / beta is used here.

Inputs: features (rows, width) and targets as `Targets.take` gives -> a number.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from baton.contracts.task_spec import Classes, Labels, Numbers, TaskSpec
from baton.errors import DataError

Floats = NDArray[np.float64]

ITERATIONS = 1000  # at most; some ten are typical
SETTLED = 1e-7  # relative change of alpha / beta
# Bounds of alpha / beta relative to the features' variances: without any signal it grows for ever, and of a
# perfect fit it vanishes.
LEAST, MOST = 1e-10, 1e10


def logme(spec: TaskSpec, features: NDArray[Any], targets: NDArray[Any]) -> float | None:
    """Return the LogME of an encoder; None for tasks whose targets are not of rows.

    Args:
        spec: the task. Of classes and labels it is the mean over one against the rest, for those that some
            rows have and some have not; of numbers the mean over columns, in deviations from their mean.
        features: of the encoder, pooled, (rows, width).
        targets: classes (rows,), or labels or numbers (rows, names).

    Raises:
        DataError: features and targets are not of the same rows, a feature is not finite, or the targets of
            all rows are equal.
    """
    match spec:
        case Classes():
            columns = (targets[:, None] == np.arange(spec.width)).astype(np.float64)
        case Labels():
            columns = (targets > 0).astype(np.float64)
        case Numbers():
            columns = np.asarray(targets, np.float64)
        case _:
            return None
    columns = columns[:, np.ptp(columns, axis=0) > 0]
    if not columns.shape[1]:
        raise DataError(
            "LogME compares targets, but every row has the same target",
            got=f"{len(targets)} rows",
            expected="rows of several classes, or of different numbers",
        )
    if isinstance(spec, Numbers):
        columns = (columns - columns.mean(axis=0)) / columns.std(axis=0)
    return float(evidence(features, columns).mean())


def evidence(features: NDArray[Any], columns: Floats) -> Floats:
    """Return the log evidence per row, (columns,), of each of `columns` (rows, columns).

    Raises:
        DataError: features and columns are not of the same rows, or a feature is not finite.
    """
    own = np.asarray(features, np.float64)
    if own.ndim != 2 or len(own) != len(columns):
        raise DataError(
            "features and targets do not match",
            got=f"{len(own)} rows of features, {len(columns)} of targets",
            expected="both of the same rows",
        )
    if not (finite := np.isfinite(own).all(axis=1)).all():
        raise DataError(f"a feature of row {int(np.argmin(finite))} is not finite", expected="finite numbers")
    left, singular, _ = np.linalg.svd(own, full_matrices=False)
    variances = singular[:, None] ** 2  # (k, 1), k = min(rows, width)
    signal = (left.T @ columns) ** 2  # (k, columns): the part of each column along each direction
    rest = np.maximum((columns**2).sum(axis=0) - signal.sum(axis=0), 0.0)
    ratio = _settled(variances, signal, rest, len(own)) if variances.any() else 1.0
    return _log_evidence(ratio / (ratio + variances), signal, rest, len(own))


def _settled(variances: Floats, signal: Floats, rest: Floats, rows: int) -> Floats:
    """Return alpha / beta of each column, (columns,), where Algorithm 1 comes to rest."""
    least, most = LEAST * variances.max(), MOST * variances.max()
    ratio = np.full(signal.shape[1], variances.mean())
    for _ in range(ITERATIONS):
        shrunk = ratio / (variances + ratio)
        effective = (variances / (variances + ratio)).sum(axis=0)  # gamma: the parameters that count
        free = rows - len(variances) + shrunk.sum(axis=0)  # rows - gamma, also where it is tiny
        weights = (variances * signal / (variances + ratio) ** 2).sum(axis=0)  # squared length of the mean
        residual = (signal * shrunk**2).sum(axis=0) + rest
        with np.errstate(divide="ignore"):  # alpha = gamma / weights, beta = (rows - gamma) / residual
            new = np.clip(effective * residual / (weights * free), least, most)
        settled = np.abs(new - ratio) <= SETTLED * ratio
        ratio = new
        if settled.all():
            break
    return ratio


def _log_evidence(shrunk: Floats, signal: Floats, rest: Floats, rows: int) -> Floats:
    """Return the log evidence per row at the best `beta` for a ratio alpha / beta, (columns,).

    `shrunk` is ratio / (ratio + variances), (k, columns). The targets are normal with covariance
    (I + features features' / ratio) / beta, whose best beta is rows / their squared length in its metric.
    """
    squares = np.maximum((shrunk * signal).sum(axis=0) + rest, np.finfo(np.float64).tiny)
    logs = np.log(shrunk).sum(axis=0) / rows
    return np.asarray(0.5 * (logs - np.log(2 * np.pi * squares / rows) - 1))
