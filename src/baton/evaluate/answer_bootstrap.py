"""Intervals and comparisons of models that answer each row with a text, which has a score and may be exact.

Scores are from 0 to 1, such as chrF or the F1 of words. Figures of scores have the percentile bootstrap's
interval over rows, but never a narrower one than that of a mean over rows: resampling a table without
mistakes finds none. Shares have Wilson's. Differences have the paired bootstrap's, but never a narrower one
than Tango's of two models that are right on the same rows; that of exact match is Tango's itself.

Inputs: per-row statistics -> intervals, differences, and what a comparison says besides its test.
"""

import abc
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baton import params
from baton.evaluate import proportions, randomisation, significance
from baton.evaluate.resampling import Figures, Resamples, interval, widest

Floats = NDArray[np.float64]
EXACT_MATCH = "exact_match"


class AnswerBootstrap(Resamples, abc.ABC):
    """Point sums and resampled figures of several models on the same rows."""

    def __init__(
        self, statistics: Mapping[str, Floats], figures: Figures, settings: params.Bootstrap
    ) -> None:
        """Draw once for all models; `statistics` maps a model's name to its (n, columns)."""
        self.settings = settings
        super().__init__(statistics, figures, settings)

    @abc.abstractmethod
    def scores(self, name: str) -> Floats:
        """Return the score of each row, (n,)."""

    @abc.abstractmethod
    def hits(self, name: str) -> NDArray[np.bool_]:
        """Return the rows whose answer is exactly right, (n,)."""

    def is_share(self, figure: str) -> bool:
        """Return whether a figure is a share of rows."""
        return figure == EXACT_MATCH

    def rows(self, name: str, figure: str) -> NDArray[np.bool_]:  # noqa: ARG002
        """Return the rows that a figure is about, (n,)."""
        return np.full(len(self.statistics[name]), True)

    def _interval(self, name: str, figure: str) -> list[float]:
        value, rows = float(self.points[name][figure]), self.rows(name, figure)
        if self.is_share(figure):
            low, high = proportions.wilson(value * rows.sum(), rows.sum(), self.confidence)
            return [float(low), float(high)]
        below, above = proportions.around_mean(self.scores(name)[rows], self.confidence)
        drawn = interval(self.drawn[name][figure], self.confidence)
        return widest(drawn, (max(0.0, value + below), min(1.0, value + above)))

    def difference(
        self, first: str, second: str, figure: str, confidence: float | None = None
    ) -> tuple[float, list[float]]:
        """Return `first` minus `second` in `figure`, with its paired interval."""
        level = self.confidence if confidence is None else confidence
        value, drawn = super().difference(first, second, figure, level)
        if figure == EXACT_MATCH:
            pair = significance.discordant(self.hits(first), self.hits(second))
            return value, list(proportions.paired_interval(*pair, len(self.hits(first)), level))
        low, high = proportions.paired_interval(0, 0, int(self.rows(first, figure).sum()), level)
        return value, widest(drawn, (max(-1.0, value + low), min(1.0, value + high)))

    def tested(self, first: str, second: str, figures: tuple[str, ...], p_value: float) -> dict[str, Any]:
        """Return `randomisation.tested` and `significance.exactly_right`."""
        return randomisation.tested(self, first, second, figures, p_value) | significance.exactly_right(
            self, first, second, EXACT_MATCH
        )
