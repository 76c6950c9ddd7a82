"""The bootstrap of test rows, for figures of any task.

The bootstrap draws the same test rows for every model, so differences and ratios of two models are paired.

Inputs: per-row statistics of every model, and the function from their sums to figures -> the figures of all
rows and of each resample.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baton import params

Floats = NDArray[np.float64]
Statistics = Any  # (rows, columns): an array, or a sparse matrix (scipy.sparse.csr_array), which is untyped
# Sums (..., columns) -> figures, each with the leading shape; with those of resamples also the sums (columns)
# over all rows, else None.
Figures = Callable[[Floats, Floats | None], dict[str, Floats]]

DRAWS_AT_ONCE = 2_000_000  # bounds memory: 16 MB of row counts


def draws(rows: int, resamples: int, seed: int, width: int = 1) -> Iterator[tuple[slice, Floats]]:
    """Yield how often each row is drawn, (block, rows), in blocks of resamples, for sums of `width` columns.

    The draws depend only on `rows`, `resamples` and `seed`.
    """
    generator = np.random.default_rng(seed)
    block = max(1, DRAWS_AT_ONCE // max(rows, width))
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        # Each resample counts in its own range.
        drawn = generator.integers(0, rows, size=(size, rows)) + rows * np.arange(size)[:, None]
        yield (
            slice(start, start + size),
            np.bincount(drawn.ravel(), minlength=size * rows).reshape(size, rows).astype(np.float64),
        )


def interval(values: Floats, confidence: float) -> list[float]:
    """Return the percentile interval [low, high] over the first axis of `values` (resamples).

    Undefined values (NaN) are ignored. Efron 1979, Bootstrap methods: another look at the jackknife.
    """
    tail = 50 * (1 - confidence)
    return [float(bound) for bound in np.nanpercentile(values, [tail, 100 - tail])]


class Resamples:
    """Point sums and resampled figures of several models on the same rows."""

    def __init__(
        self, statistics: Mapping[str, Statistics], figures: Figures, settings: params.Bootstrap
    ) -> None:
        """Draw once for all models; `statistics` maps a model's name to its (n, columns)."""
        self.confidence, self.statistics = settings.confidence, statistics
        self.sums = {name: np.asarray(value.sum(axis=0)) for name, value in statistics.items()}
        self.points = {name: figures(sums, None) for name, sums in self.sums.items()}
        self.drawn = {
            name: {figure: np.empty(settings.resamples) for figure in own}
            for name, own in self.points.items()
        }
        rows, width = (
            next(iter(statistics.values())).shape[0],
            max(value.shape[1] for value in statistics.values()),
        )
        for place, counted in draws(rows, settings.resamples, settings.seed, width):
            # One model at a time: sums of many columns are large, figures are not.
            for name, own in statistics.items():
                for figure, values in figures(counted @ own, self.sums[name]).items():
                    self.drawn[name][figure][place] = values

    def figures(self, name: str) -> dict[str, float | list[float]]:
        """Return the model's figures, each with `<figure>_interval: [low, high]`."""
        result: dict[str, float | list[float]] = {}
        for figure, value in self.points[name].items():
            result[figure] = float(value)
            if (bounds := self._interval(name, figure)) is not None:
                result[f"{figure}_interval"] = bounds
        return result

    def _interval(self, name: str, figure: str) -> list[float] | None:
        """Return a figure's interval; None if it has none."""
        return interval(self.drawn[name][figure], self.confidence)

    def difference(
        self, first: str, second: str, figure: str, confidence: float | None = None
    ) -> tuple[float, list[float]]:
        """Return `first` minus `second` in `figure`, with its paired percentile interval.

        `confidence` is the interval's level if it is not that of the other intervals.
        """
        level = self.confidence if confidence is None else confidence
        value = float(self.points[first][figure] - self.points[second][figure])
        return value, interval(self.drawn[first][figure] - self.drawn[second][figure], level)

    def differences(self, first: str, second: str, figures: Iterable[str]) -> dict[str, Any]:
        """Return `<figure>_difference` and `<figure>_difference_interval` of each of the figures."""
        result: dict[str, Any] = {}
        for figure in figures:
            key = f"{figure}_difference"
            result[key], result[f"{key}_interval"] = self.difference(first, second, figure)
        return result

    def ratio(self, first: str, second: str, figure: str) -> tuple[float, list[float]] | None:
        """Return `first` over `second` in `figure`, with its paired interval.

        It is the percentile bootstrap's, but not narrower than that of the difference. The result is None if
        `second` is 0, or if the interval has no upper end.
        """
        denominator = float(self.points[second][figure])
        if denominator == 0:
            return None
        value = float(self.points[first][figure]) / denominator
        # A resample in which `second` is 0 counts as infinite, or as undefined.
        with np.errstate(divide="ignore", invalid="ignore"):
            drawn = interval(self.drawn[first][figure] / self.drawn[second][figure], self.confidence)
        difference, (low, high) = self.difference(first, second, figure)
        closed = (
            max(0.0, value + (low - difference) / denominator),
            value + (high - difference) / denominator,
        )
        return (value, widest(drawn, closed)) if np.isfinite(drawn).all() else None

    def ratios(self, first: str, second: str, figures: Iterable[str]) -> dict[str, Any]:
        """Return each `ratio` that is defined under its figure's name, with `<figure>_interval`."""
        result: dict[str, Any] = {}
        for figure in figures:
            if (found := self.ratio(first, second, figure)) is not None:
                result[figure], result[f"{figure}_interval"] = found
        return result


def means(values: Floats, settings: params.Bootstrap) -> tuple[Floats, Floats]:
    """Return means over rows (k) of `values` (rows, k), and ends of their bootstrap intervals (2, k)."""
    drawn = np.concatenate(
        [counted @ values for _, counted in draws(len(values), settings.resamples, settings.seed)]
    ) / len(values)
    tail = 50 * (1 - settings.confidence)
    return values.mean(axis=0), np.percentile(drawn, [tail, 100 - tail], axis=0)


def widest(*intervals: list[float] | tuple[float, float]) -> list[float]:
    """Return the smallest interval that contains all of them."""
    return [float(min(low for low, _ in intervals)), float(max(high for _, high in intervals))]
