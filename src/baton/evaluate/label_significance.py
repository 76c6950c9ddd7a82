"""Intervals and paired tests for models that gave the same test rows any number of labels.

- Subset accuracy has Wilson's interval. Means over rows of numbers from 0 to 1 (samples F1, Hamming loss,
  ranking loss) have Wilson's for the effective number of rows. Log loss and coverage error have the
  percentile bootstrap's.
- Micro and macro F1, and differences, have those of `f1_bootstrap`; differences in micro F1 are tested by
  approximate randomisation, see `randomisation`.

Inputs: `label_outputs.statistics` -> figures with intervals, differences, tests.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from baton import params
from baton.evaluate import f1_bootstrap, label_outputs, multiple_comparisons, proportions
from baton.evaluate.f1_bootstrap import F1Bootstrap
from baton.evaluate.resampling import Statistics, interval

Floats = NDArray[np.float64]

COMPARED = ("micro_f1", "macro_f1", "samples_f1")


class LabelBootstrap(F1Bootstrap):
    """Point sums and resampled figures of several models on the same rows."""

    row: ClassVar[tuple[str, ...]] = label_outputs.ROW
    unbounded: ClassVar[tuple[str, ...]] = ("log_loss", "coverage_error")

    def __init__(self, statistics: Mapping[str, Statistics], labels: int, settings: params.Bootstrap) -> None:
        """Draw once for all models; `statistics` maps a model's name to its `label_outputs.statistics`."""
        super().__init__(
            statistics, lambda sums, whole: label_outputs.figures(sums, labels, whole), labels, settings
        )

    def _interval(self, name: str, figure: str) -> list[float]:
        match figure:
            case "subset_accuracy":
                rows = len(self.hits(name))
                return _share(float(self.points[name][figure]), rows, self.confidence)
            case "samples_f1" | "ranking_loss":
                return proportions.mean_share(self.column(name, figure), self.confidence)
            case "hamming_loss":
                return proportions.mean_share(self._wrong(name), self.confidence)
            case "micro_f1":
                return self.pooled_f1(name, figure)
            case "macro_f1":
                return self.macro_f1(name)
        return interval(self.drawn[name][figure], self.confidence)

    def losses(self, name: str) -> dict[str, Floats]:
        """Return log_loss of every row, (n)."""
        return {"log_loss": self.column(name, "log_loss")}

    def _wrong(self, name: str) -> Floats:
        """Return the share of each row's decisions that are wrong, (n)."""
        hit, both = self.counted(name).T
        return np.asarray((both - 2 * hit) / self.names)


def paired(boot: LabelBootstrap, first: str, second: str, pairs: int = 1) -> dict[str, Any]:
    """Compare `first` with `second` in micro, macro and samples F1, see `f1_bootstrap.paired`."""
    return f1_bootstrap.paired(boot, first, second, COMPARED, "subset_accuracy", pairs)


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


def _share(value: float, rows: float, confidence: float) -> list[float]:
    low, high = proportions.wilson(value * rows, rows, confidence)
    return [float(low), float(high)]
