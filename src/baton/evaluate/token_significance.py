"""Intervals and paired tests for models that tagged the words of the same texts.

Texts, not words, are resampled and exchanged: the words of a text are not independent.

- Entity, macro F1, precision, recall and token accuracy have the percentile bootstrap's interval, but never a
  narrower one than the closed form that takes entities (or words) as independent: resampling a table without
  mistakes finds none. `exact` has Wilson's, log loss the bootstrap's.
- Differences have the paired bootstrap's, but never a narrower one than Tango's of two models that are right
  on the same texts.
- Differences in entity F1 are tested by approximate randomisation over texts, see `label_significance`.

Inputs: `token_outputs.statistics` -> figures with intervals, differences, tests.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baton import params
from baton.evaluate import (
    intervals,
    multiple_comparisons,
    proportions,
    randomisation,
    significance,
    token_outputs,
)
from baton.evaluate.label_significance import randomised_p
from baton.evaluate.resampling import Resamples, Statistics, interval, widest
from baton.evaluate.token_outputs import ROW
from baton.tasks.metrics import counts

Floats = NDArray[np.float64]
COMPARED = ("entity_f1", "macro_f1", "token_accuracy")


class TokenBootstrap(Resamples):
    """Point sums and resampled figures of several models on the same texts."""

    def __init__(self, statistics: Mapping[str, Statistics], types: int, settings: params.Bootstrap) -> None:
        """Draw once for all models; `statistics` maps a model's name to its `token_outputs.statistics`."""
        self.types, self.settings = types, settings
        super().__init__(statistics, lambda sums, whole: token_outputs.figures(sums, types, whole), settings)

    def _interval(self, name: str, figure: str) -> list[float]:
        value, drawn = float(self.points[name][figure]), interval(self.drawn[name][figure], self.confidence)
        hit, chosen, true = counts(self.sums[name], self.types)
        match figure:
            case "exact":
                return self._wilson(value * len(self.hits(name)), len(self.hits(name)))
            case "token_accuracy":
                return widest(drawn, self._wilson(value * self._sum(name, "words"), self._sum(name, "words")))
            case "entity_precision":
                return widest(drawn, self._wilson(hit.sum(), chosen.sum()))
            case "entity_recall":
                return widest(drawn, self._wilson(hit.sum(), true.sum()))
            case "entity_f1":
                low, high = intervals.f1(hit.sum(), chosen.sum(), true.sum(), self.confidence)
                return [0.0, 1.0] if np.isnan(low) else widest(drawn, (float(low), float(high)))
            case "macro_f1":
                own = true > 0
                hit, chosen, true = hit[own], chosen[own], true[own]
                if not len(true):
                    return [0.0, 1.0]
                ends = intervals.f1(hit, chosen, true, self.confidence)
                weights = np.full(len(true), 1 / len(true))
                return widest(drawn, intervals.mean(weights, 2 * hit / (chosen + true), *ends))
        return drawn

    def difference(
        self, first: str, second: str, figure: str, confidence: float | None = None
    ) -> tuple[float, list[float]]:
        """Return `first` minus `second` in `figure`, with its paired interval."""
        level = self.confidence if confidence is None else confidence
        value = float(self.points[first][figure] - self.points[second][figure])
        drawn = interval(self.drawn[first][figure] - self.drawn[second][figure], level)
        if figure == "log_loss":
            return value, drawn
        low, high = proportions.paired_interval(0, 0, len(self.hits(first)), level)
        return value, widest(drawn, (max(-1.0, value + low), min(1.0, value + high)))

    def per_class(self, name: str) -> dict[str, tuple[Floats, Floats]]:
        """Return precision, recall, f1 and support of each type, see `significance.Bootstrap.per_class`."""
        return significance.bounded_per_class(self.sums[name], self.types, self.confidence)

    def hits(self, name: str) -> NDArray[np.bool_]:
        """Return the texts whose entities are all right, (n)."""
        return np.asarray(self._column(name, "exact") > 0)

    def losses(self, name: str) -> dict[str, Floats]:
        """Return log_loss of every text, (n), on a scale on which their mean is that of all words."""
        if self.statistics[name].shape[1] < 3 * self.types + len(ROW):
            return {}
        words = max(self._sum(name, "words"), 1.0)
        return {"log_loss": self._column(name, "log_loss") * len(self.hits(name)) / words}

    def counted(self, name: str) -> Floats:
        """Return how many entities each text has that are hit, and that are predicted or actual, (n, 2)."""
        own, width = self.statistics[name], self.types
        return np.stack([own[:, :width].sum(axis=1), own[:, width : 3 * width].sum(axis=1)], axis=1)

    def _column(self, name: str, column: str) -> Floats:
        own: Floats = self.statistics[name][:, [3 * self.types + ROW.index(column)]].toarray()[:, 0]
        return own

    def _sum(self, name: str, column: str) -> float:
        return float(self.sums[name][3 * self.types + ROW.index(column)])

    def _wilson(self, hits: float, of: float) -> list[float]:
        if of == 0:
            return [0.0, 1.0]
        low, high = proportions.wilson(hits, of, self.confidence)
        return [float(low), float(high)]


def paired(boot: TokenBootstrap, first: str, second: str, pairs: int = 1) -> dict[str, Any]:
    """Compare `first` with `second`, one of `pairs` comparisons.

    Differences in `COMPARED` have intervals; `entity_f1_p` is that of `label_significance.randomised_p`, and
    the interval of entity F1 is extended to 0 if p is not below 1 - confidence. `discordant` holds the texts
    that only the first, and that only the second, has exactly right; `exact_p` is McNemar's mid-p.
    """
    draws = randomisation.exchanges(boot.settings, pairs)
    p_value = randomised_p(boot.counted(first), boot.counted(second), draws, boot.settings.seed)
    pair = significance.discordant(boot.hits(first), boot.hits(second))
    return randomisation.tested(boot, first, second, COMPARED, p_value) | {
        "discordant": [*pair],
        "exact_p": proportions.paired_p(*pair),
    }


def compared(boot: TokenBootstrap, pairs: Sequence[tuple[str, str]]) -> dict[str, dict[str, Any]]:
    """Return `first_vs_second` -> `paired`, the paired t-test of log loss, and what holds for all pairs.

    The latter is that of `multiple_comparisons.adjust`, for entity F1.
    """
    result = {
        f"{first}_vs_{second}": paired(boot, first, second, len(pairs))
        | multiple_comparisons.paired_losses(boot, first, second)
        for first, second in pairs
    }
    multiple_comparisons.adjust(boot, pairs, result, "entity_f1")
    multiple_comparisons.adjust_losses(result)
    return result
