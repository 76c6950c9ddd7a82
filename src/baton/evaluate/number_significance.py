"""Intervals and paired tests for models that gave the same test rows numbers.

- A figure has the bootstrap's interval, made wider for few rows: the expanded percentile interval
  (Hesterberg 2015, What teachers should know about the bootstrap, arXiv:1411.5279). For errors and R2 it is
  never narrower than the jackknife's with Student's t (Tukey 1958), of the figure's logarithm, since errors
  are skewed; of R2 it is that of the share that is not explained. Differences are paired, and the jackknife's
  is of the difference itself. `benchmarks/number_coverage.py` measures how often the intervals hold the
  truth. Below `FEWEST` rows resamples can be so alike that none does.
- Differences are tested by exchanging the two models' outputs of random rows, see `number_exchange`.

Inputs: targets and outputs -> figures with intervals, differences, tests.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baton import params
from baton.contracts.task_spec import Numbers
from baton.errors import DataError
from baton.evaluate import multiple_comparisons, number_exchange, number_outputs, proportions, randomisation
from baton.evaluate.number_outputs import NumberOutputs
from baton.evaluate.resampling import Resamples, draws, interval, widest
from baton.tasks import number_metrics

Floats = NDArray[np.float64]
COMPARED = ("mae", "rmse", "r2", "spearman")
FEWEST = 20  # rows on which the gate judges
JACKKNIFED = ("mae", "rmse", "r2")
MOST = 100.0  # half the width of an interval of a logarithm: its ends stay finite


class NumberBootstrap(Resamples):
    """Point figures and resampled ones of several models on the same rows."""

    def __init__(
        self,
        targets: NDArray[Any],
        outputs: Mapping[str, NumberOutputs],
        spec: Numbers,
        settings: params.Bootstrap,
    ) -> None:
        """Draw once for all models.

        Raises:
            DataError: there is one row.
        """
        if len(targets) < 2:
            raise DataError(
                "figures of numbers have no interval",
                got=f"{len(targets)} row to measure on",
                expected="at least 2",
                hint="take a larger test table: see preprocess.limit and the split's share in preprocess",
            )
        self.settings, self.spec, self.targets, self.outputs = settings, spec, targets, outputs
        self._errors = {name: number_outputs.errors(targets, own, spec) for name, own in outputs.items()}
        scale = number_outputs.standardised(targets)[1]

        def figures(sums: Floats, _whole: Floats | None) -> dict[str, Floats]:
            return number_outputs.figures(sums, spec, scale)

        rows = {name: number_outputs.statistics(targets, own) for name, own in outputs.items()}
        super().__init__(rows, figures, settings)
        # Figures without one of the rows, each (n,).
        self._without = {name: figures(self.sums[name] - own, None) for name, own in rows.items()}
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
        value = float(self.points[first][figure] - self.points[second][figure])
        found = self._expanded(self.drawn[first][figure] - self.drawn[second][figure], level)
        if figure in JACKKNIFED:
            half = jackknife_half(self._without[first][figure] - self._without[second][figure], level)
            found = widest(found, (value - half, value + half))
        return value, found

    def _interval(self, name: str, figure: str) -> list[float]:
        found, kind = self._expanded(self.drawn[name][figure], self.confidence), figure.partition("/")[0]
        if kind not in JACKKNIFED:
            return found
        point, without = float(self.points[name][figure]), self._without[name][figure]
        if kind != "r2":
            return widest(found, log_jackknife(point, without, self.confidence))
        low, high = log_jackknife(1 - point, 1 - without, self.confidence)
        return widest(found, (1 - high, 1 - low))

    def _expanded(self, drawn: Floats, confidence: float) -> list[float]:
        return interval(drawn, expanded(confidence, len(self.targets)))


def expanded(confidence: float, rows: int) -> float:
    """Return the level at which a percentile interval is about as wide as Student's of a mean.

    A resample varies less than new rows would, by (rows - 1) / rows, and its quantiles know no t.
    """
    from scipy.stats import norm, t

    quantile = t.isf((1 - confidence) / 2, rows - 1) * (rows / (rows - 1)) ** 0.5
    return float(1 - 2 * norm.sf(quantile))


def jackknife_half(without: Floats, confidence: float) -> float:
    """Return half the width of the jackknife's interval, from a figure without each of the rows, (n,)."""
    from scipy.stats import t

    rows = len(without)
    return float(t.isf((1 - confidence) / 2, rows - 1) * without.std() * (rows - 1) ** 0.5)


def log_jackknife(point: float, without: Floats, confidence: float) -> tuple[float, float]:
    """Return the jackknife's interval of a figure above 0, by its logarithm, or if it may be 0 as it is."""
    if point > 0 and (without > 0).all():
        half = min(jackknife_half(np.log(without), confidence), MOST)
        return float(point * np.exp(-half)), float(point * np.exp(half))
    half = jackknife_half(without, confidence)
    return max(0.0, point - half), point + half


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


def paired(boot: NumberBootstrap, first: str, second: str, pairs: int = 1) -> dict[str, Any]:
    """Compare `first` with `second`, one of `pairs` comparisons.

    `mae_p` is that of `number_exchange.exchanged_p`; the interval of the difference in mean absolute error is
    extended to 0 if p is not below 1 - confidence. `discordant` holds the rows on which only the first, and
    only the second, is closer.
    """
    change, times = boot.errors(first) - boot.errors(second), randomisation.exchanges(boot.settings, pairs)
    p_value = number_exchange.exchanged_p(change, times, boot.settings.seed)
    closer = [int((change < 0).sum()), int((change > 0).sum())]
    return randomisation.tested(boot, first, second, COMPARED, p_value) | {"discordant": closer}


def with_tests(boot: NumberBootstrap, first: str, second: str) -> dict[str, Any]:
    """Return `paired`, and `FIGURE_p` of every figure that is compared."""
    outputs = boot.outputs[first].values, boot.outputs[second].values
    times = randomisation.exchanges(boot.settings, 1)
    return paired(boot, first, second) | number_exchange.p_values(
        boot.targets, *outputs, boot.spec, times, boot.settings.seed
    )


def compared(boot: NumberBootstrap, pairs: Sequence[tuple[str, str]]) -> dict[str, dict[str, Any]]:
    """Return `first_vs_second` -> `paired`, and what holds for all pairs.

    The latter is that of `multiple_comparisons.adjust`, for the mean absolute error.
    """
    result = {f"{one}_vs_{other}": paired(boot, one, other, len(pairs)) for one, other in pairs}
    multiple_comparisons.adjust(boot, pairs, result, "mae")
    return result


def mean_interval(values: Floats, confidence: float) -> tuple[float, float]:
    """Return the ends of Student's interval of the mean of errors (n,); from 0 to infinity for one row."""
    from scipy.stats import t

    if len(values) < 2:
        return 0.0, float("inf")
    half = float(t.isf((1 - confidence) / 2, len(values) - 1) * proportions.standard_error(values))
    return max(0.0, float(values.mean()) - half), float(values.mean()) + half
