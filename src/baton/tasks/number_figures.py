"""Figures and answers of a model that gives each row numbers; see `task_figures.TaskFigures`.

Logits are numbers standardised by train; every figure and answer is in the numbers' units.

An answer has a prediction interval for each number, by split conformal prediction: with n validation rows,
the number plus or minus the ceil((n + 1) * coverage)-th smallest absolute residual contains the target of a
new row with a probability of at least `coverage`, whatever the model, if rows are exchangeable (Vovk,
Gammerman and Shafer 2005, Algorithmic learning in a random world; Lei et al. 2018, Distribution-free
predictive inference for regression). Validation also chose the checkpoint, so the coverage on test says how
far that holds. The probability is that of each number alone, and over rows, not for every kind of row.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from baton.contracts.task_spec import Numbers
from baton.tasks import number_metrics
from baton.tasks.answers import SOME, Misfit

Floats = NDArray[np.float64]
Fitted = Mapping[str, Any]  # see contracts.fitted_values
LARGEST = float(np.finfo(np.float64).max)
LOW, HIGH = "_low", "_high"  # after a number's name: the columns of its interval


@dataclass(frozen=True)
class NumberFigures:
    """Errors and correlations, averaged over numbers; answers are the numbers and their intervals."""

    spec: Numbers

    directions: ClassVar[Mapping[str, int]] = {"loss": -1, "mae": -1, "rmse": -1, "r2": 1, "spearman": 1}
    main: ClassVar[str] = "mae"
    gated: ClassVar[tuple[str, ...]] = ("mae", "rmse", "r2", "spearman")
    share: ClassVar[bool] = False
    probes: ClassVar[bool] = False

    def scores(self, logits: ArrayLike, targets: ArrayLike) -> dict[str, float]:
        """Return `loss` (of standardised numbers) and the figures of `number_metrics`, means over numbers.

        Errors of several numbers count in deviations of train, see `Numbers.units`.
        """
        raw, true = np.asarray(logits, np.float64), np.asarray(targets, np.float64)
        number_metrics.check(raw, true)
        off = np.abs(raw - (true - np.array(self.spec.centre)) / np.array(self.spec.scale))
        smooth = np.where(off < 1, off**2 / 2, off - 0.5)
        found = {name: number_metrics.FIGURES[name](true, self.values(raw)) for name in self.gated}
        units = self.spec.units
        figures = {name: float(number_metrics.averaged(name, own, units)) for name, own in found.items()}
        return {"loss": float((smooth if self.spec.loss == "smooth_l1" else off**2).mean())} | figures

    def values(self, logits: NDArray[Any]) -> Floats:
        """Return the numbers (n, width) that logits stand for."""
        scaled = np.array(self.spec.scale) * np.asarray(logits, np.float64)
        return np.asarray(np.array(self.spec.centre) + scaled)

    def fitted(self, logits: NDArray[Any], targets: NDArray[Any]) -> dict[str, Any]:
        """Return `quantiles`: of each number half the width of its intervals, see `half_width`."""
        number_metrics.check(np.asarray(logits), np.asarray(targets))
        return {"quantiles": self.half_widths(self.values(logits), targets)}

    def half_widths(self, values: Floats, targets: NDArray[Any]) -> list[float | None]:
        """Return `half_width` of each number, from values and targets of validation rows (n, width)."""
        return [half_width(own, self.spec.coverage) for own in np.abs(values - targets).T]

    def texts(self, targets: NDArray[Any]) -> list[str]:
        """Return each row's numbers as a JSON list."""
        return [json.dumps(row) for row in np.asarray(targets, np.float64).tolist()]

    def answer(
        self,
        logits: NDArray[Any],
        fitted: Fitted,
        index: Any,
        texts: Sequence[str] = (),  # noqa: ARG002
    ) -> pd.DataFrame:
        """Return each number and, in `NAME_low` and `NAME_high`, the ends of its interval.

        Without a half width the interval is infinite; JSON knows no infinity, so its ends are the least and
        the greatest double.
        """
        values = self.values(logits).reshape(-1, self.spec.width)
        low, high = (np.clip(end, -LARGEST, LARGEST) for end in intervals(values, fitted.get("quantiles")))
        columns = [part[:, place] for place in range(self.spec.width) for part in (values, low, high)]
        return pd.DataFrame(dict(zip(self.columns, columns, strict=True)), index=index)

    def said(self, answers: pd.DataFrame) -> list[str]:
        """Return the numbers as `texts` writes them."""
        return self.texts(answers[list(self.spec.names)].to_numpy(dtype=np.float64))

    def misfit(self, answers: pd.DataFrame) -> Misfit | None:
        """Return which columns an answer lacks or has besides; without its number no row can be compared."""
        known = list(answers.columns)
        missing, more = sorted(set(self.columns) - set(known)), sorted(set(known) - set(self.columns))
        if not missing and not more:
            return None
        parts = [*(f"no {own}" for own in missing[:SOME]), *(f"unexpected {own}" for own in more[:SOME])]
        return Misfit(", ".join(parts), comparable=False)

    def output(self, fitted: Fitted) -> str:
        """Return the columns in words, and half the width of the intervals."""
        quantiles = fitted.get("quantiles") or [None] * self.spec.width
        shown = (
            f"`{name}` ± {'infinity' if own is None else f'{own:.4g}'}"
            for name, own in zip(self.spec.names, quantiles, strict=True)
        )
        return (
            "`NAME`, double, in the number's unit; `NAME_low` and `NAME_high`, double, the ends of its "
            f"prediction interval, which contains {100 * self.spec.coverage:g}% of numbers: "
            f"{', '.join(shown)} (split conformal, fitted on validation)"
        )

    @property
    def columns(self) -> Mapping[str, type]:
        """Each number and the ends of its interval."""
        return {f"{name}{end}": float for name in self.spec.names for end in ("", LOW, HIGH)}


def half_width(residuals: NDArray[Any], coverage: float) -> float | None:
    """Return the ceil((n + 1) * coverage)-th smallest of n absolute residuals (n,).

    None, an infinite interval, if there are fewer: then no finite one has the coverage.
    """
    # Rounding keeps (n + 1) * coverage from exceeding a whole number by its binary error.
    place = math.ceil(round((len(residuals) + 1) * coverage, 9))
    return float(np.sort(residuals)[place - 1]) if place <= len(residuals) else None


def intervals(values: Floats, quantiles: Sequence[float | None] | None) -> tuple[Floats, Floats]:
    """Return the ends (n, width) of intervals around values; without half widths they are infinite."""
    known = [None] * values.shape[1] if quantiles is None else quantiles
    half = np.array([math.inf if own is None else own for own in known])
    return values - half, values + half
