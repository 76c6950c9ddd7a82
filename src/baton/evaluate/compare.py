"""Intervals and paired tests between models that predicted the same test rows.

The bootstrap resamples test rows with the same draws for every model, so differences and ratios of two models are paired. Intervals and
tests cover the choice of test rows, not the choice of the training seed. ECE is biased upwards by resampling (and by few rows), so its
interval may lie above the figure.

Inputs: per-row statistics (`metrics.statistics`) or hits -> figures with intervals, differences, ratios, McNemar's test.
"""

import numpy as np
from numpy.typing import NDArray

from baton import params
from baton.evaluate import metrics

Floats = NDArray[np.float64]

DRAWS_AT_ONCE = 2_000_000  # bounds memory: 16 MB of row counts


def resample(statistics: Floats, resamples: int, seed: int) -> Floats:
    """Sums (resamples, k) of `statistics` (n, k) over `resamples` draws of n rows with replacement.

    The draws depend only on n, `resamples` and `seed`. Rows drawn are counted (bincount), and the sums are one matrix product.
    """
    rows = len(statistics)
    generator = np.random.default_rng(seed)
    block = max(1, DRAWS_AT_ONCE // rows)
    sums = np.empty((resamples, statistics.shape[1]))
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        drawn = generator.integers(0, rows, size=(size, rows)) + rows * np.arange(size)[:, None]  # each resample counts in its own range
        counts = np.bincount(drawn.ravel(), minlength=size * rows).reshape(size, rows)  # (size, n)
        sums[start : start + size] = counts.astype(np.float64) @ statistics
    return sums


def interval(values: Floats, confidence: float) -> list[float]:
    """Percentile interval [low, high] over the first axis of `values` (resamples); undefined values (NaN) are left out.

    Efron 1979, Bootstrap methods: another look at the jackknife.
    """
    tail = 50 * (1 - confidence)
    return [float(bound) for bound in np.nanpercentile(values, [tail, 100 - tail])]


class Bootstrap:
    """Point sums and resampled sums of several models on the same rows."""

    def __init__(self, statistics: dict[str, Floats], classes: int, settings: params.Bootstrap) -> None:
        """Draw once for all models; `statistics` maps a model's name to its (n, columns)."""
        self.classes, self.confidence = classes, settings.confidence
        names, widths = list(statistics), [value.shape[1] for value in statistics.values()]
        joined = resample(np.hstack(list(statistics.values())), settings.resamples, settings.seed)  # (resamples, all columns)
        self.resampled = dict(zip(names, np.split(joined, np.cumsum(widths)[:-1], axis=1), strict=True))
        self.sums = {name: value.sum(axis=0) for name, value in statistics.items()}

    def figures(self, name: str) -> dict[str, float | list[float]]:
        """The model's overall figures, each with `<figure>_interval: [low, high]`."""
        result: dict[str, float | list[float]] = {}
        drawn = metrics.figures(self.resampled[name], self.classes)
        for figure, value in metrics.figures(self.sums[name], self.classes).items():
            result[figure] = float(value)
            result[f"{figure}_interval"] = interval(drawn[figure], self.confidence)
        return result

    def difference(self, first: str, second: str, figure: str) -> tuple[float, list[float]]:
        """`first` minus `second` in `figure`, with its paired interval."""
        value, drawn = (
            metrics.figures(s[first], self.classes)[figure] - metrics.figures(s[second], self.classes)[figure] for s in self._both()
        )
        return float(value), interval(drawn, self.confidence)

    def ratio(self, first: str, second: str, figure: str) -> tuple[float, list[float]] | None:
        """`first` over `second` in `figure`, with its paired interval; None where `second` is 0, also in resamples that decide a bound."""
        if metrics.figures(self.sums[second], self.classes)[figure] == 0:
            return None
        with np.errstate(divide="ignore", invalid="ignore"):  # a resample in which `second` is 0 counts as infinite, or as undefined
            value, drawn = (
                metrics.figures(s[first], self.classes)[figure] / metrics.figures(s[second], self.classes)[figure] for s in self._both()
            )
            bounds = interval(drawn, self.confidence)
        return (float(value), bounds) if np.isfinite(bounds).all() else None

    def per_class(self, name: str) -> dict[str, tuple[Floats, Floats]]:
        """precision, recall and f1 -> values (classes) and bounds (2, classes); NaN where undefined. Also `support` with empty bounds."""
        values, drawn = (per_class(s[name], self.classes) for s in self._both())
        tail = 50 * (1 - self.confidence)
        result = {"support": (self.sums[name][2 * self.classes : 3 * self.classes], np.empty((2, 0)))}
        for figure, value in values.items():
            bounds = np.full((2, self.classes), np.nan)
            known = ~np.isnan(drawn[figure]).all(axis=0)  # a class that no resample holds has no bounds
            bounds[:, known] = np.nanpercentile(drawn[figure][:, known], [tail, 100 - tail], axis=0)
            result[figure] = (value, bounds)
        return result

    def _both(self) -> tuple[dict[str, Floats], dict[str, Floats]]:
        return self.sums, self.resampled


def per_class(sums: Floats, classes: int) -> dict[str, Floats]:
    """precision, recall and f1 (..., classes) from `sums` (..., columns).

    NaN where the denominator is 0: precision of a class that was never predicted, recall of a class without rows, f1 of both.
    """
    hit, chosen, actual = (sums[..., k * classes : (k + 1) * classes] for k in range(3))
    with np.errstate(invalid="ignore"):
        return {"precision": hit / chosen, "recall": hit / actual, "f1": 2 * hit / (chosen + actual)}


def mcnemar(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> tuple[int, int, float]:
    """Exact McNemar test of two classifiers' hits (n): rows only the first has right, rows only the second has right, two-sided p.

    Under equal accuracy the discordant rows split like a fair coin; without any the p-value is 1 (McNemar 1947).
    """
    from scipy.stats import binomtest

    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    discordant = only_first + only_second
    return only_first, only_second, float(binomtest(only_first, discordant, 0.5).pvalue) if discordant else 1.0


def paired(bootstrap: Bootstrap, hits: dict[str, NDArray[np.bool_]], first: str, second: str) -> dict[str, float | list[float]]:
    """`first` against `second`: differences in accuracy and macro F1 with intervals, and McNemar's test.

    `discordant` holds the rows that only the first has right and those that only the second has right.
    """
    result: dict[str, float | list[float]] = {}
    for figure in ("accuracy", "macro_f1"):
        result[f"{figure}_difference"], result[f"{figure}_difference_interval"] = bootstrap.difference(first, second, figure)
    only_first, only_second, p_value = mcnemar(hits[first], hits[second])
    return result | {"discordant": [only_first, only_second], "mcnemar_p": p_value}
