"""The outputs of a model that gives each row numbers, and their figures as functions of sums.

As for classes (`tasks.metrics`), the figures are functions of sums of per-row statistics, so that all rows
and each resample share one code path; Spearman's correlation is not, see `number_significance`.

Inputs: values (n, numbers) and targets (n, numbers), in the numbers' units -> mae, rmse, r2, pearson. A mean
of errors over several numbers is in deviations of train (`Numbers.units`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baton.contracts.task_spec import Numbers
from baton.tasks import number_figures
from baton.tasks.number_metrics import averaged, explained

Floats = NDArray[np.float64]

COLUMNS = 7  # of `statistics`, for each number
CONSTANT = 1e-12  # a variance that is a smaller part of the mean square is a rounding error


@dataclass(frozen=True)
class NumberOutputs:
    """A model's outputs for n rows, in the numbers' units."""

    values: Floats  # (n, numbers)
    quantiles: Sequence[float | None] | None = None  # half of an interval's width; None: infinite
    C: float | None = None  # of a linear baseline, chosen on validation
    ends: tuple[Floats, Floats] | None = None  # of the intervals, both (n, numbers), as served

    @property
    def bounds(self) -> tuple[Floats, Floats]:
        """The ends of the prediction intervals, both (n, numbers)."""
        return self.ends or number_figures.intervals(self.values, self.quantiles)


def covered(targets: NDArray[Any], outputs: NumberOutputs) -> NDArray[np.bool_]:
    """Return whether each number lies in its interval, (n, numbers)."""
    low, high = outputs.bounds
    return np.asarray((low <= targets) & (targets <= high))


def errors(targets: NDArray[Any], outputs: NumberOutputs, spec: Numbers) -> Floats:
    """Return each row's absolute error, a mean over numbers, (n,)."""
    return np.asarray((np.abs(outputs.values - targets) / np.array(spec.units)).mean(axis=1))


def standardised(values: NDArray[Any]) -> tuple[Floats, Floats]:
    """Return values (n, numbers) by their own mean and deviation, and the deviations; 0 and 1 if constant.

    By those of train, sums of squares would lose the digits in which nearly constant values differ.
    """
    values = np.ascontiguousarray(values)  # sums depend on the order in memory
    constant = np.ptp(values, axis=0) == 0
    off = np.where(constant, 0.0, values - values.mean(axis=0))
    deviation = np.sqrt((off**2).mean(axis=0))
    scale = np.where(deviation > 0, deviation, 1.0)
    return off / scale, scale


def statistics(targets: NDArray[Any], outputs: NumberOutputs) -> Floats:
    """Return the per-row statistics whose sums `figures` reads, (n, 7 * numbers + 1).

    Of each number: absolute and squared error in its unit; of target and value, both `standardised`, x, y,
    x**2, y**2 and x * y. The last column is 1.
    """
    off = outputs.values - targets
    x, y = standardised(targets)[0], standardised(outputs.values)[0]
    parts = np.stack([np.abs(off), off**2, x, y, x**2, y**2, x * y], axis=2)  # (n, numbers, 7)
    return np.concatenate([parts.reshape(len(parts), -1), np.ones((len(parts), 1))], axis=1)


def figures(sums: Floats, spec: Numbers, scale: Floats) -> dict[str, Floats]:
    """Return the figures for sums (..., columns of `statistics`); each value has the leading shape of `sums`.

    `scale` (numbers,) are the deviations by which the targets were `standardised`.

    - mae, rmse: mean absolute error, root of the mean squared error, in the number's unit.
    - r2: share of the targets' variance that is explained; see `number_metrics.r2`.
    - pearson: linear correlation; 0 if either side is constant.

    With several numbers these are means over numbers, and `FIGURE/NAME` is that of one.
    """
    rows = sums[..., -1:]  # (..., 1)
    parts = sums[..., :-1].reshape(*sums.shape[:-1], spec.width, COLUMNS)
    absolute, squared, x, y, xx, yy, xy = np.moveaxis(parts, -1, 0)  # each (..., numbers)
    spread_x, spread_y = xx - x**2 / rows, yy - y**2 / rows
    varies = (spread_x > CONSTANT * xx) & (spread_y > CONSTANT * yy)
    product = np.where(varies, spread_x * spread_y, 1.0)
    correlation = np.where(varies, (xy - x * y / rows) / np.sqrt(product), 0.0)
    total = np.where(spread_x > CONSTANT * xx, spread_x, 0.0) * scale**2
    found = {
        "mae": absolute / rows,
        "rmse": np.sqrt(np.maximum(squared, 0) / rows),
        "r2": explained(squared, total),
        "pearson": np.clip(correlation, -1.0, 1.0),
    }
    return named(found, spec)


def named(found: dict[str, Floats], spec: Numbers) -> dict[str, Floats]:
    """Return figures (..., numbers) as means over numbers and, of several numbers, those of each.

    Errors count in `Numbers.units`.
    """
    result = {figure: averaged(figure, value, spec.units) for figure, value in found.items()}
    if spec.width > 1:
        result |= {
            f"{figure}/{name}": value[..., place]
            for figure, value in found.items()
            for place, name in enumerate(spec.names)
        }
    return result
