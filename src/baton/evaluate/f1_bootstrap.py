"""Intervals and tests of F1 where a row has any number of names: labels, or entities.

Rows, not names, are resampled and exchanged: the names of a row are not independent. Pooled F1 and macro F1
have the percentile bootstrap's interval, but never a narrower one than the closed form that takes names as
independent: resampling a table without mistakes finds none. Differences have the paired bootstrap's, but
never a narrower one than Tango's of two models that are right on the same rows.

Inputs: per-row statistics that begin with those of `metrics.counts` -> intervals, differences, p.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from baton import params
from baton.evaluate import intervals, proportions, randomisation, significance
from baton.evaluate.randomisation import SAME
from baton.evaluate.resampling import Figures, Resamples, Statistics, interval, widest
from baton.tasks.metrics import counts

Floats = NDArray[np.float64]


class F1Bootstrap(Resamples):
    """Point sums and resampled figures of several models on the same rows."""

    row: ClassVar[tuple[str, ...]]  # the columns of the statistics after the counts; `exact` is among them
    unbounded: ClassVar[tuple[str, ...]]  # figures that are no numbers from 0 to 1

    def __init__(
        self, statistics: Mapping[str, Statistics], figures: Figures, names: int, settings: params.Bootstrap
    ) -> None:
        """Draw once for all models; `names` is their number, and that of the columns of each count."""
        self.names, self.settings = names, settings
        super().__init__(statistics, figures, settings)

    def pooled_f1(self, name: str, figure: str) -> list[float]:
        """Return the interval of a figure that is the F1 of all names together."""
        hit, chosen, actual = counts(self.sums[name], self.names)
        low, high = intervals.f1(hit.sum(), chosen.sum(), actual.sum(), self.confidence)
        drawn = interval(self.drawn[name][figure], self.confidence)
        return [0.0, 1.0] if np.isnan(low) else widest(drawn, (float(low), float(high)))

    def macro_f1(self, name: str) -> list[float]:
        """Return the interval of `macro_f1`, the mean over the names that it `averages`."""
        hit, chosen, actual = counts(self.sums[name], self.names)
        own = self.averages(chosen, actual)
        hit, chosen, actual = hit[own], chosen[own], actual[own]
        if not len(actual):
            return [0.0, 1.0]
        ends = intervals.f1(hit, chosen, actual, self.confidence)
        weights = np.full(len(actual), 1 / len(actual))
        drawn = interval(self.drawn[name]["macro_f1"], self.confidence)
        return widest(drawn, intervals.mean(weights, 2 * hit / (chosen + actual), *ends))

    def averages(self, chosen: Floats, actual: Floats) -> NDArray[np.bool_]:  # noqa: ARG002
        """Return which names count for `macro_f1`, from how often each is predicted and actual, (names,)."""
        return np.asarray(actual > 0)

    def difference(
        self, first: str, second: str, figure: str, confidence: float | None = None
    ) -> tuple[float, list[float]]:
        """Return `first` minus `second` in `figure`, with its paired interval."""
        level = self.confidence if confidence is None else confidence
        value, drawn = super().difference(first, second, figure, level)
        if figure in self.unbounded:
            return value, drawn
        low, high = proportions.paired_interval(0, 0, len(self.hits(first)), level)
        return value, widest(drawn, (max(-1.0, value + low), min(1.0, value + high)))

    def per_class(self, name: str) -> dict[str, tuple[Floats, Floats]]:
        """Return precision, recall, f1 and support of each name, see `significance.Bootstrap.per_class`."""
        return significance.bounded_per_class(self.sums[name], self.names, self.confidence)

    def hits(self, name: str) -> NDArray[np.bool_]:
        """Return the rows whose names are exactly right, (n)."""
        return np.asarray(self.column(name, "exact") > 0)

    def counted(self, name: str) -> Floats:
        """Return how many names each row has that are hit, and that are predicted or actual, (n, 2)."""
        own, width = self.statistics[name], self.names
        return np.stack([own[:, :width].sum(axis=1), own[:, width : 3 * width].sum(axis=1)], axis=1)

    def column(self, name: str, column: str) -> Floats:
        """Return one of the columns `row` of a model's statistics, (n)."""
        own: Floats = self.statistics[name][:, [3 * self.names + self.row.index(column)]].toarray()[:, 0]
        return own


def randomised_p(first: Floats, second: Floats, resamples: int, seed: int) -> float:
    """Return the two-sided p of equal F1 of all names, by exchanging the two models' outputs of random rows.

    Args:
        first: `F1Bootstrap.counted` of the first model, (n, 2).
        second: of the second.
        resamples: the number of random exchanges; p is at least 1 / (resamples + 1).
        seed: of the draws.
    """
    total, change = first + second, first - second
    gap = partial(_gap, total.sum(axis=0))
    return randomisation.exchanged_p(change, gap, abs(gap(change.sum(axis=0))) - SAME, resamples, seed)


def paired(
    boot: F1Bootstrap, first: str, second: str, figures: tuple[str, ...], exact: str, pairs: int
) -> dict[str, Any]:
    """Compare `first` with `second`, one of `pairs` comparisons.

    Differences in `figures` have intervals. The first of them is the F1 of all names: its p is that of
    `randomised_p`, and its interval is extended to 0 if p is not below 1 - confidence. The rest is that of
    `significance.exactly_right`.
    """
    draws = randomisation.exchanges(boot.settings, pairs)
    p_value = randomised_p(boot.counted(first), boot.counted(second), draws, boot.settings.seed)
    return randomisation.tested(boot, first, second, figures, p_value) | significance.exactly_right(
        boot, first, second, exact
    )


def f1_of_rows(counted: Floats, confidence: float) -> tuple[float, float, float]:
    """Return the F1 of rows' `counted` (n, 2), and the ends of its interval.

    It is the normal interval of a ratio of means over rows (Cochran 1977, Sampling techniques, 6.3), but
    never narrower than the one that takes decisions as independent.
    """
    hit, both = counted.sum(axis=0)
    if both == 0:
        return 0.0, 0.0, 1.0
    value = 2 * hit / both
    half = proportions.normal(confidence) * proportions.standard_error(pseudo_values(counted))
    low, high = intervals.f1(hit, both - hit, hit, confidence)
    bounds = widest((max(0.0, value - half), min(1.0, value + half)), (float(low), float(high)))
    return float(value), bounds[0], bounds[1]


def pseudo_values(counted: Floats) -> Floats:
    """Return a score of each row, (n,): their mean is the F1 of all names together, 0 without any.

    It is that F1 plus n times the change in it per unit of the row's weight: pseudo-values of the
    infinitesimal jackknife (Jaeckel 1972, The infinitesimal jackknife), whose mean has the standard error of
    the F1.

    Args:
        counted: `F1Bootstrap.counted`, (n, 2).
    """
    hit, both = counted.sum(axis=0)
    if both == 0:
        return np.zeros(len(counted))
    value = 2 * hit / both
    found: Floats = value + (2 * counted[:, 0] - value * counted[:, 1]) * len(counted) / both
    return found


def _gap(total: Floats, change: Floats) -> Any:
    """Return the difference in F1 of two models, from sum and difference of their counts (..., 2)."""
    one, other = (total + change) / 2, (total - change) / 2
    return 2 * one[..., 0] / np.maximum(one[..., 1], 1) - 2 * other[..., 0] / np.maximum(other[..., 1], 1)
