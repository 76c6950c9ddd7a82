"""Intervals and paired tests for models that tagged the words of the same texts.

- Entity and macro F1, and differences, have the intervals of `f1_bootstrap`, whose rows are texts.
- Precision, recall and token accuracy have the percentile bootstrap's interval, but never a narrower one
  than the closed form that takes entities (or words) as independent. `exact` has Wilson's, log loss the
  bootstrap's.
- Differences in entity F1 are tested by approximate randomisation over texts, see `randomisation`.

Inputs: `token_outputs.statistics` -> figures with intervals, differences, tests.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from baton import params
from baton.evaluate import f1_bootstrap, multiple_comparisons, proportions, token_outputs
from baton.evaluate.f1_bootstrap import F1Bootstrap
from baton.evaluate.resampling import Statistics, interval, widest
from baton.tasks.metrics import counts

Floats = NDArray[np.float64]
COMPARED = ("entity_f1", "macro_f1", "token_accuracy")


class TokenBootstrap(F1Bootstrap):
    """Point sums and resampled figures of several models on the same texts."""

    row: ClassVar[tuple[str, ...]] = token_outputs.ROW
    unbounded: ClassVar[tuple[str, ...]] = ("log_loss",)

    def __init__(self, statistics: Mapping[str, Statistics], types: int, settings: params.Bootstrap) -> None:
        """Draw once for all models; `statistics` maps a model's name to its `token_outputs.statistics`."""
        super().__init__(
            statistics, lambda sums, whole: token_outputs.figures(sums, types, whole), types, settings
        )

    def _interval(self, name: str, figure: str) -> list[float]:
        value, drawn = float(self.points[name][figure]), interval(self.drawn[name][figure], self.confidence)
        hit, chosen, true = counts(self.sums[name], self.names)
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
                return self.pooled_f1(name, figure)
            case "macro_f1":
                return self.macro_f1(name)
        return drawn

    def averages(self, chosen: Floats, actual: Floats) -> NDArray[np.bool_]:
        """Return the types with an entity, actual or predicted."""
        return np.asarray(chosen + actual > 0)

    def losses(self, name: str) -> dict[str, Floats]:
        """Return log_loss of every text, (n), on a scale on which their mean is that of all words."""
        if self.statistics[name].shape[1] < 3 * self.names + len(self.row):
            return {}
        words = max(self._sum(name, "words"), 1.0)
        return {"log_loss": self.column(name, "log_loss") * len(self.hits(name)) / words}

    def _sum(self, name: str, column: str) -> float:
        return float(self.sums[name][3 * self.names + self.row.index(column)])

    def _wilson(self, hits: float, of: float) -> list[float]:
        if of == 0:
            return [0.0, 1.0]
        low, high = proportions.wilson(hits, of, self.confidence)
        return [float(low), float(high)]


def paired(boot: TokenBootstrap, first: str, second: str, pairs: int = 1) -> dict[str, Any]:
    """Compare `first` with `second` in entity F1 and the rest of `COMPARED`, see `f1_bootstrap.paired`."""
    return f1_bootstrap.paired(boot, first, second, COMPARED, "exact", pairs)


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
