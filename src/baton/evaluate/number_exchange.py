"""Tests of equally good models of numbers: for a random half of the rows, their outputs are exchanged.

Fisher 1935, The Design of Experiments; Noreen 1989, Computer-intensive methods for testing hypotheses.
Absolute errors are exchanged for the mean absolute error, squared ones for RMSE and R2, and the ranks that
each model gives the rows for Spearman's correlation.

Inputs: targets and the values of two models, (n, numbers) -> p.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from baton.contracts.task_spec import Numbers
from baton.evaluate import randomisation
from baton.evaluate.randomisation import SAME

Floats = NDArray[np.float64]


def exchanged_p(change: Floats, resamples: int, seed: int) -> float:
    """Return the two-sided p of equal mean errors, by random signs of the rows' differences (n,).

    It is at least 1 / (resamples + 1).
    """
    return randomisation.exchanged_p(
        change, lambda sums: sums, abs(float(change.sum())) * (1 - SAME), resamples, seed
    )


def p_values(
    targets: NDArray[Any], first: Floats, second: Floats, spec: Numbers, resamples: int, seed: int
) -> dict[str, float]:
    """Return `rmse_p`, `r2_p` and `spearman_p` of two models that are equally good.

    All arguments but the last three are (n, numbers).
    """
    squares = (first - targets) ** 2, (second - targets) ** 2
    total = ((targets - targets.mean(axis=0)) ** 2).sum(axis=0)
    share = np.where(total > 0, 1 / np.where(total > 0, total, 1.0), 0.0)
    # p does not depend on the unit of a single number; in its deviations, rounding is told from a difference.
    one_unit = np.where(total > 0, np.sqrt(total / len(targets)), 1.0)
    both = (squares[0] + squares[1]).sum(axis=0)
    units = (one_unit if spec.width == 1 else np.array(spec.units)) * len(targets) ** 0.5

    def rmse(change: Floats) -> Floats:  # (draws, numbers) -> (draws,)
        one, other = (np.sqrt(np.maximum(both + sign * change, 0) / 2) for sign in (1, -1))
        return np.asarray(((one - other) / units).mean(axis=-1))

    def r2(change: Floats) -> Floats:
        return np.asarray(-(change * share).mean(axis=-1))

    change = squares[0] - squares[1]
    return {
        "rmse_p": _p(change, rmse, resamples, seed),
        "r2_p": _p(change, r2, resamples, seed),
        "spearman_p": _spearman_p(targets, first, second, resamples, seed),
    }


def _spearman_p(targets: NDArray[Any], first: Floats, second: Floats, resamples: int, seed: int) -> float:
    """Return p of equal correlations of ranks, by exchanging the ranks of rows."""
    known, *own = (_ranks(values) for values in (targets, first, second))
    width, length = known.shape[1], np.sqrt((known**2).sum(axis=0))
    one, other = (np.concatenate([known * ranks, ranks, ranks**2], axis=1) for ranks in own)
    both = (one + other).sum(axis=0)

    def correlation(sums: Floats) -> Floats:  # (draws, 3 * numbers) -> (draws,)
        product, mean, square = (sums[..., width * k : width * (k + 1)] for k in range(3))
        spread = np.sqrt(np.maximum(square - mean**2 / len(known), 0)) * length
        return np.asarray(np.where(spread > 0, product / np.where(spread > 0, spread, 1), 0).mean(axis=-1))

    def gap(change: Floats) -> Floats:
        return correlation((both + change) / 2) - correlation((both - change) / 2)

    return _p(one - other, gap, resamples, seed)


def _p(change: Floats, gap: Any, resamples: int, seed: int) -> float:
    least = abs(float(gap(change.sum(axis=0)))) * (1 - SAME) - SAME
    return randomisation.exchanged_p(change, gap, least, resamples, seed)


def _ranks(values: NDArray[Any]) -> Floats:
    from scipy.stats import rankdata

    ranks: Floats = rankdata(values, axis=0)
    return ranks - (len(ranks) + 1) / 2
