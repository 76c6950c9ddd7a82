"""Intervals and paired tests for models that gave the same test rows numbers.

- Figures and differences have the percentile bootstrap's interval; a difference is paired.
- Differences in mean absolute error are tested by exchanging the two models' errors of random rows: if two
  models are equally good, the sign of each row's difference is a coin's (Fisher 1935, The Design of
  Experiments; Noreen 1989, Computer-intensive methods for testing hypotheses).

Inputs: targets and outputs -> figures with intervals, differences, tests.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baton import params
from baton.contracts.task_spec import Numbers
from baton.evaluate import multiple_comparisons, number_outputs, randomisation
from baton.evaluate.number_outputs import NumberOutputs
from baton.evaluate.randomisation import SAME
from baton.evaluate.resampling import Resamples, draws, widest
from baton.tasks import number_metrics

Floats = NDArray[np.float64]
COMPARED = ("mae", "rmse", "r2", "spearman")


class NumberBootstrap(Resamples):
    """Point figures and resampled ones of several models on the same rows."""

    def __init__(
        self,
        targets: NDArray[Any],
        outputs: Mapping[str, NumberOutputs],
        spec: Numbers,
        settings: params.Bootstrap,
    ) -> None:
        """Draw once for all models."""
        self.settings, self.spec = settings, spec
        self._errors = {name: number_outputs.errors(targets, own) for name, own in outputs.items()}
        super().__init__(
            {name: number_outputs.statistics(targets, own, spec) for name, own in outputs.items()},
            lambda sums, _whole: number_outputs.figures(sums, spec),
            settings,
        )
        self._add_spearman(targets, outputs)

    def _add_spearman(self, targets: NDArray[Any], outputs: Mapping[str, NumberOutputs]) -> None:
        """Add `spearman`, for which each resample is ranked; the resamples are those of the other figures."""
        drawn = {name: np.empty((self.settings.resamples, self.spec.width)) for name in outputs}
        for place, counted in draws(len(targets), self.settings.resamples, self.settings.seed):
            for number in range(self.spec.width):
                known = centred_ranks(counted, targets[:, number])
                for name, own in outputs.items():
                    ranks = centred_ranks(counted, own.values[:, number])
                    drawn[name][place, number] = correlation(counted, known, ranks)
        for name, own in outputs.items():
            whole = {"spearman": number_metrics.spearman(np.asarray(targets, np.float64), own.values)}
            self.points[name] |= number_outputs.named(whole, self.spec)
            self.drawn[name] |= number_outputs.named({"spearman": drawn[name]}, self.spec)

    def errors(self, name: str) -> Floats:
        """Return the absolute error of each row, a mean over numbers, (n)."""
        return self._errors[name]

    def difference(
        self, first: str, second: str, figure: str, confidence: float | None = None
    ) -> tuple[float, list[float]]:
        """Return `first` minus `second` in `figure`, with its paired interval."""
        level = self.confidence if confidence is None else confidence
        value, drawn = super().difference(first, second, figure, level)
        change = self.errors(first) - self.errors(second)
        if figure == "mae" and len(change) > 1:
            half = student_half(change, level)
            drawn = widest(drawn, (value - half, value + half))
        return value, drawn

    def _interval(self, name: str, figure: str) -> list[float] | None:
        """Return the bootstrap's interval; that of `mae` never narrower than Student's, as few rows need."""
        drawn = super()._interval(name, figure)
        if drawn is None or figure != "mae" or len(self.errors(name)) < 2:
            return drawn
        return widest(drawn, mean_interval(self.errors(name), self.confidence))


def centred_ranks(counted: Floats, values: NDArray[Any]) -> Floats:
    """Return the ranks of values (n,) in resamples, less their mean; (resamples, n).

    Equal values have their mean rank.

    Args:
        counted: how often each row is drawn, (resamples, n).
        values: of the rows.
    """
    _, firsts, group = np.unique(np.sort(values), return_index=True, return_inverse=True)
    order = np.argsort(values, kind="stable")
    sizes = np.add.reduceat(counted[:, order], firsts, axis=1)  # (resamples, different values)
    ranks = np.cumsum(sizes, axis=1) - sizes + (sizes + 1) / 2
    result = np.empty_like(counted)
    result[:, order] = ranks[:, group]
    return np.asarray(result - (counted.shape[1] + 1) / 2)


def correlation(counted: Floats, first: Floats, second: Floats) -> Floats:
    """Return the correlation of centred ranks in each resample, (resamples,); 0 if either is constant.

    All arguments are (resamples, n).
    """
    weighted = counted * first
    product = (weighted * second).sum(axis=1)
    length = np.sqrt((weighted * first).sum(axis=1) * (counted * second * second).sum(axis=1))
    return np.asarray(np.where(length > 0, product / np.where(length > 0, length, 1.0), 0.0))


def exchanged_p(change: Floats, resamples: int, seed: int) -> float:
    """Return the two-sided p of equal mean errors, by random signs of the rows' differences (n,).

    It is at least 1 / (resamples + 1).
    """
    return randomisation.exchanged_p(
        change, lambda sums: sums, abs(float(change.sum())) * (1 - SAME), resamples, seed
    )


def paired(boot: NumberBootstrap, first: str, second: str, pairs: int = 1) -> dict[str, Any]:
    """Compare `first` with `second`, one of `pairs` comparisons.

    `mae_p` is that of `exchanged_p`; the interval of the difference in mean absolute error is extended to 0
    if p is not below 1 - confidence. `discordant` holds the rows on which only the first, and only the
    second, is closer.
    """
    change, times = boot.errors(first) - boot.errors(second), randomisation.exchanges(boot.settings, pairs)
    p_value = exchanged_p(change, times, boot.settings.seed)
    closer = [int((change < 0).sum()), int((change > 0).sum())]
    return randomisation.tested(boot, first, second, COMPARED, p_value) | {"discordant": closer}


def compared(boot: NumberBootstrap, pairs: Sequence[tuple[str, str]]) -> dict[str, dict[str, Any]]:
    """Return `first_vs_second` -> `paired`, and what holds for all pairs.

    The latter is that of `multiple_comparisons.adjust`, for the mean absolute error.
    """
    result = {f"{one}_vs_{other}": paired(boot, one, other, len(pairs)) for one, other in pairs}
    multiple_comparisons.adjust(boot, pairs, result, "mae")
    return result


def mean_interval(values: Floats, confidence: float) -> tuple[float, float]:
    """Return the ends of Student's interval of the mean of errors (n,); from 0 to infinity for one row."""
    if len(values) < 2:
        return 0.0, float("inf")
    half = student_half(values, confidence)
    return max(0.0, float(values.mean()) - half), float(values.mean()) + half


def student_half(values: Floats, confidence: float) -> float:
    """Return half the width of Student's interval of the mean of values, (n > 1)."""
    from scipy.stats import t

    return float(t.isf((1 - confidence) / 2, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5)
