"""Intervals and paired tests for classifiers that predicted the same test rows.

- Shares (accuracy, top-5, recall, precision) have Wilson's interval; per-class F1 has one derived from it.
- Means over classes (macro and weighted F1, balanced accuracy) and the correlation have the percentile
  bootstrap's, but never a narrower one than the closed form: resampling a table without mistakes finds none.
  Losses have the percentile bootstrap's.
- ECE has none: few rows bias it upwards, and resampling does so once more. `calibration.error` has a valid
  one.
- Differences in accuracy have Tango's, with the mid-p test; `multiple_comparisons` has those in log loss and
  Brier score.

The bootstrap draws the same test rows for every model, so differences and ratios of two models are paired.
Intervals and tests cover the choice of test rows, not the choice of the training seed.

Inputs: per-row statistics (`metrics.statistics`) or hits -> figures with intervals, differences, ratios,
tests.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baton import params
from baton.evaluate import intervals, proportions
from baton.evaluate.resampling import Resamples, Statistics, interval, widest
from baton.tasks import metrics
from baton.tasks.metrics import counts, per_class

Floats = NDArray[np.float64]
Hits = NDArray[np.bool_]

SHARES = ("accuracy", "top5_accuracy")


class Bootstrap(Resamples):
    """Point sums and resampled figures of several classifiers on the same rows."""

    def __init__(
        self, statistics: Mapping[str, Statistics], classes: int, settings: params.Bootstrap
    ) -> None:
        """Draw once for all models; `statistics` maps a model's name to its `metrics.statistics`."""
        self.classes = classes
        super().__init__(statistics, lambda sums, whole: metrics.figures(sums, classes, whole), settings)

    def _interval(self, name: str, figure: str) -> list[float] | None:
        if figure == "ece":
            return None
        value, (hit, chosen, actual) = float(self.points[name][figure]), counts(self.sums[name], self.classes)
        rows, has_rows = float(actual.sum()), actual > 0
        if figure in SHARES:
            low, high = proportions.wilson(value * rows, rows, self.confidence)
            return [float(low), float(high)]
        drawn = interval(self.drawn[name][figure], self.confidence)
        hit, chosen, actual = hit[has_rows], chosen[has_rows], actual[has_rows]
        match figure:
            case "macro_f1" | "weighted_f1":
                weights = actual / rows if figure == "weighted_f1" else np.full(len(actual), 1 / len(actual))
                ends = intervals.f1(hit, chosen, actual, self.confidence)
                return widest(drawn, intervals.mean(weights, 2 * hit / (chosen + actual), *ends))
            case "balanced_accuracy":
                ends = proportions.wilson(hit, actual, self.confidence)
                return widest(
                    drawn, intervals.mean(np.full(len(actual), 1 / len(actual)), hit / actual, *ends)
                )
            case "mcc":
                return widest(drawn, self._matthews(name))
        return drawn

    def _matthews(self, name: str) -> tuple[float, float]:
        """Return the interval of the correlation.

        For fixed class shares the correlation is a linear function of accuracy, whose interval is Wilson's.
        """
        value, accuracy = float(self.points[name]["mcc"]), float(self.points[name]["accuracy"])
        hit, chosen, actual = counts(self.sums[name], self.classes)
        rows = actual.sum()
        variance = (1 - ((chosen / rows) ** 2).sum()) * (1 - ((actual / rows) ** 2).sum())
        if variance <= 0:
            return value, value
        low, high = proportions.wilson(hit.sum(), rows, self.confidence)
        return max(-1.0, value - (accuracy - float(low)) / variance**0.5), min(
            1.0, value + (float(high) - accuracy) / variance**0.5
        )

    def difference(
        self, first: str, second: str, figure: str, confidence: float | None = None
    ) -> tuple[float, list[float]]:
        """Return `first` minus `second` in `figure`, with its paired interval.

        For accuracy the interval is Tango's. For macro F1 and balanced accuracy it is the bootstrap's, but
        not narrower than that of mean recall.
        """
        level = self.confidence if confidence is None else confidence
        value, drawn = super().difference(first, second, figure, level)
        if figure == "accuracy":
            only_first, only_second = discordant(self.hits(first), self.hits(second))
            return value, list(
                proportions.paired_interval(only_first, only_second, len(self.hits(first)), level)
            )
        if figure in ("macro_f1", "balanced_accuracy"):
            low, high = intervals.mean_difference(
                self.labels(first), self.hits(first), self.hits(second), level
            )
            shift = value - float(
                self.points[first]["balanced_accuracy"] - self.points[second]["balanced_accuracy"]
            )
            return value, widest(drawn, (max(-1.0, low + shift), min(1.0, high + shift)))
        return value, drawn

    def ratio(self, first: str, second: str, figure: str) -> tuple[float, list[float]] | None:
        """Return `first` over `second` in `figure`, with its paired interval.

        For accuracy the interval is the score test's. For others it is the bootstrap's, but not narrower than
        that of the difference. The result is None if `second` is 0, or if the interval has no upper end.
        """
        denominator = float(self.points[second][figure])
        if figure != "accuracy" or denominator == 0:
            return super().ratio(first, second, figure)
        one, other = self.hits(first), self.hits(second)
        only_first, only_second = discordant(one, other)
        bounds = list(
            intervals.paired_ratio(
                int((one & other).sum()), only_first, only_second, len(one), self.confidence
            )
        )
        return (
            (float(self.points[first][figure]) / denominator, bounds) if np.isfinite(bounds).all() else None
        )

    def per_class(self, name: str) -> dict[str, tuple[Floats, Floats]]:
        """Return precision, recall and f1 -> values (classes) and bounds (2, classes); NaN if undefined.

        The result also has `support`, with empty bounds.
        """
        return bounded_per_class(self.sums[name], self.classes, self.confidence)

    def hits(self, name: str) -> Hits:
        """Return which rows the model has right, (n)."""
        own = self.statistics[name]
        return np.asarray(own.data[own.indptr[:-1]] > 0)

    def labels(self, name: str) -> NDArray[np.int64]:
        """Return the rows' classes, (n): the column of a row's first number."""
        own = self.statistics[name]
        return np.asarray(own.indices[own.indptr[:-1]], np.int64)

    def losses(self, name: str) -> dict[str, Floats]:
        """Return log_loss and brier of every row, each (n); empty without probabilities."""
        own = self.statistics[name]
        if own.shape[1] == 3 * self.classes:
            return {}
        both = own[:, [3 * self.classes, 3 * self.classes + 1]].toarray()
        return {"log_loss": both[:, 0], "brier": both[:, 1]}


def bounded_per_class(sums: Floats, classes: int, confidence: float) -> dict[str, tuple[Floats, Floats]]:
    """Return `Bootstrap.per_class` from sums (columns) that begin with those of `metrics.counts`."""
    hit, chosen, actual = counts(sums, classes)
    ends = {
        "precision": proportions.wilson(hit, chosen, confidence),
        "recall": proportions.wilson(hit, actual, confidence),
        "f1": intervals.f1(hit, chosen, actual, confidence),
    }
    values = per_class(sums, classes)
    return {"support": (actual, np.empty((2, 0)))} | {
        figure: (values[figure], np.stack(ends[figure])) for figure in ends
    }


def discordant(first: Hits, second: Hits) -> tuple[int, int]:
    """Return the number of rows that only the first, and that only the second, has right."""
    return int((first & ~second).sum()), int((second & ~first).sum())


def exactly_right(boot: Any, first: str, second: str, exact: str) -> dict[str, Any]:
    """Return how two models differ in the rows that each has exactly right, the `hits` of a bootstrap.

    `discordant` holds those that only the first, and that only the second, has; `<exact>_p` is McNemar's
    mid-p.
    """
    pair = discordant(boot.hits(first), boot.hits(second))
    return {"discordant": [*pair], f"{exact}_p": proportions.paired_p(*pair)}


def paired(bootstrap: Bootstrap, hits: dict[str, Hits], first: str, second: str) -> dict[str, Any]:
    """Compare `first` with `second`: differences in accuracy and macro F1, and McNemar's mid-p test.

    The differences have intervals. `discordant` holds the rows that only the first, and that only the second,
    has right. The interval of the difference in accuracy excludes 0 exactly if `mcnemar_p` is below 1 -
    confidence.
    """
    pair = discordant(hits[first], hits[second])
    return bootstrap.differences(first, second, ("accuracy", "macro_f1")) | {
        "discordant": [*pair],
        "mcnemar_p": proportions.paired_p(*pair),
    }
