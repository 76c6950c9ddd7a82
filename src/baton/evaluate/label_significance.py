"""Intervals and paired tests for models that gave the same test rows any number of labels.

- Subset accuracy has Wilson's interval. Means over rows of numbers from 0 to 1 (samples F1, Hamming loss,
  ranking loss) have Wilson's for the effective number of rows. Log loss and coverage error have the
  percentile bootstrap's.
- Micro and macro F1 have the percentile bootstrap's, but never a narrower one than the closed form that takes
  decisions as independent: resampling a table without mistakes finds none.
- Differences have the paired bootstrap's, but never a narrower one than Tango's of two models that are right
  on the same rows.
- Differences in micro F1 are tested by approximate randomisation, see `randomisation`.

Inputs: `label_outputs.statistics` -> figures with intervals, differences, tests.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baton import params
from baton.evaluate import (
    intervals,
    label_outputs,
    multiple_comparisons,
    proportions,
    randomisation,
    significance,
)
from baton.evaluate.label_outputs import ROW
from baton.evaluate.randomisation import SAME
from baton.evaluate.resampling import Resamples, Statistics, interval, widest
from baton.tasks.metrics import counts

Floats = NDArray[np.float64]

COMPARED = ("micro_f1", "macro_f1", "samples_f1")


class LabelBootstrap(Resamples):
    """Point sums and resampled figures of several models on the same rows."""

    def __init__(self, statistics: Mapping[str, Statistics], labels: int, settings: params.Bootstrap) -> None:
        """Draw once for all models; `statistics` maps a model's name to its `label_outputs.statistics`."""
        self.labels, self.settings = labels, settings
        super().__init__(statistics, lambda sums, whole: label_outputs.figures(sums, labels, whole), settings)

    def _interval(self, name: str, figure: str) -> list[float]:
        value, drawn = float(self.points[name][figure]), interval(self.drawn[name][figure], self.confidence)
        hit, chosen, actual = counts(self.sums[name], self.labels)
        match figure:
            case "subset_accuracy":
                return _share(value, len(self.hits(name)), self.confidence)
            case "samples_f1" | "ranking_loss":
                return _mean(self._column(name, figure), self.confidence)
            case "hamming_loss":
                return _mean(self._wrong(name), self.confidence)
            case "micro_f1":
                low, high = intervals.f1(hit.sum(), chosen.sum(), actual.sum(), self.confidence)
                return widest(drawn, _known(float(low), float(high)))
            case "macro_f1":
                own = actual > 0
                hit, chosen, actual = hit[own], chosen[own], actual[own]
                if not len(actual):
                    return [0.0, 1.0]
                ends = intervals.f1(hit, chosen, actual, self.confidence)
                weights = np.full(len(actual), 1 / len(actual))
                return widest(drawn, intervals.mean(weights, 2 * hit / (chosen + actual), *ends))
        return drawn

    def difference(
        self, first: str, second: str, figure: str, confidence: float | None = None
    ) -> tuple[float, list[float]]:
        """Return `first` minus `second` in `figure`, with its paired interval."""
        level = self.confidence if confidence is None else confidence
        value = float(self.points[first][figure] - self.points[second][figure])
        drawn = interval(self.drawn[first][figure] - self.drawn[second][figure], level)
        if figure in ("log_loss", "coverage_error"):
            return value, drawn
        low, high = proportions.paired_interval(0, 0, len(self.hits(first)), level)
        return value, widest(drawn, (max(-1.0, value + low), min(1.0, value + high)))

    def per_class(self, name: str) -> dict[str, tuple[Floats, Floats]]:
        """Return precision, recall, f1 and support of each label, see `significance.Bootstrap.per_class`."""
        return significance.bounded_per_class(self.sums[name], self.labels, self.confidence)

    def hits(self, name: str) -> NDArray[np.bool_]:
        """Return the rows whose labels are exactly right, (n)."""
        return np.asarray(self._column(name, "exact") > 0)

    def losses(self, name: str) -> dict[str, Floats]:
        """Return log_loss of every row, (n)."""
        return {"log_loss": self._column(name, "log_loss")}

    def counted(self, name: str) -> Floats:
        """Return how many labels each row has that are hit, and that are predicted or actual, (n, 2)."""
        own, width = self.statistics[name], self.labels
        return np.stack([own[:, :width].sum(axis=1), own[:, width : 3 * width].sum(axis=1)], axis=1)

    def _column(self, name: str, column: str) -> Floats:
        own: Floats = self.statistics[name][:, [3 * self.labels + ROW.index(column)]].toarray()[:, 0]
        return own

    def _wrong(self, name: str) -> Floats:
        """Return the share of each row's decisions that are wrong, (n)."""
        hit, both = self.counted(name).T
        return np.asarray((both - 2 * hit) / self.labels)


def randomised_p(first: Floats, second: Floats, resamples: int, seed: int) -> float:
    """Return the two-sided p of equal micro F1, by exchanging the two models' outputs of random rows.

    Args:
        first: `LabelBootstrap.counted` of the first model, (n, 2).
        second: of the second.
        resamples: the number of random exchanges; p is at least 1 / (resamples + 1).
        seed: of the draws.
    """
    total, change = first + second, first - second
    gap = partial(_gap, total.sum(axis=0))
    return randomisation.exchanged_p(change, gap, abs(gap(change.sum(axis=0))) - SAME, resamples, seed)


def paired(boot: LabelBootstrap, first: str, second: str, pairs: int = 1) -> dict[str, Any]:
    """Compare `first` with `second`, one of `pairs` comparisons.

    Differences in micro, macro and samples F1 have intervals; `micro_f1_p` is that of `randomised_p`, and the
    interval of micro F1 is extended to 0 if p is not below 1 - confidence. `discordant` holds the rows that
    only the first, and that only the second, has exactly right; `subset_accuracy_p` is McNemar's mid-p.
    """
    draws = randomisation.exchanges(boot.settings, pairs)
    p_value = randomised_p(boot.counted(first), boot.counted(second), draws, boot.settings.seed)
    pair = significance.discordant(boot.hits(first), boot.hits(second))
    return randomisation.tested(boot, first, second, COMPARED, p_value) | {
        "discordant": [*pair],
        "subset_accuracy_p": proportions.paired_p(*pair),
    }


def compared(boot: LabelBootstrap, pairs: Sequence[tuple[str, str]]) -> dict[str, dict[str, Any]]:
    """Return `first_vs_second` -> `paired`, the paired t-test of log loss, and what holds for all pairs.

    The latter is that of `multiple_comparisons.adjust`, for micro F1.
    """
    result = {
        f"{first}_vs_{second}": paired(boot, first, second, len(pairs))
        | multiple_comparisons.paired_losses(boot, first, second)
        for first, second in pairs
    }
    multiple_comparisons.adjust(boot, pairs, result, "micro_f1")
    multiple_comparisons.adjust_losses(result)
    return result


def f1_of_rows(counted: Floats, confidence: float) -> tuple[float, float, float]:
    """Return micro F1 of rows' `counted` (n, 2), and the ends of its interval.

    It is the normal interval of a ratio of means over rows (Cochran 1977, Sampling techniques, 6.3), but
    never narrower than the one that takes decisions as independent.
    """
    hit, both = counted.sum(axis=0)
    if both == 0:
        return 0.0, 0.0, 1.0
    value, rows = 2 * hit / both, len(counted)
    off = 2 * counted[:, 0] - value * counted[:, 1]
    error = float(np.sqrt((off**2).sum() * rows / max(rows - 1, 1))) / both
    half = proportions.normal(confidence) * error
    low, high = intervals.f1(hit, both - hit, hit, confidence)
    bounds = widest((max(0.0, value - half), min(1.0, value + half)), (float(low), float(high)))
    return float(value), bounds[0], bounds[1]


def _gap(total: Floats, change: Floats) -> Any:
    """Return the difference in micro F1 of two models, from sum and difference of their counts (..., 2)."""
    one, other = (total + change) / 2, (total - change) / 2
    return 2 * one[..., 0] / np.maximum(one[..., 1], 1) - 2 * other[..., 0] / np.maximum(other[..., 1], 1)


def _share(value: float, rows: float, confidence: float) -> list[float]:
    low, high = proportions.wilson(value * rows, rows, confidence)
    return [float(low), float(high)]


def _mean(values: Floats, confidence: float) -> list[float]:
    """Return the interval of the mean of numbers from 0 to 1, one per row.

    It is Wilson's for the effective number of rows: a row is worth as many single answers as its variance is
    smaller than theirs (Kish 1965, Survey sampling: the design effect).
    """
    value, spread = float(values.mean()), float(values.var())
    worth = max(value * (1 - value) / spread, 1.0) if spread else 1.0
    return _share(value, worth * len(values), confidence)


def _known(low: float, high: float) -> tuple[float, float]:
    return (0.0, 1.0) if np.isnan(low) else (low, high)
