"""Accuracy of several models on the same test rows under corruptions of growing severity.

Inputs: hits of every model on every row, unchanged and at every severity -> accuracies with intervals for reports/metrics.json and
reports/tables/robustness.csv.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baton import params
from baton.evaluate.compare import interval, resample

COLUMNS = ["corruption", "severity", "strength", "model", "accuracy", "low", "high"]


@dataclass(frozen=True)
class Measured:
    """What was measured, by kind of corruption; severity 0 is the unchanged picture."""

    strengths: dict[str, list[float]]  # kind -> of severities 1, 2, …
    hits: dict[str, dict[str, NDArray[np.bool_]]]  # kind -> model -> (1 + severities, rows)
    examples: dict[str, NDArray[np.uint8]]  # kind -> one picture at every severity, (1 + severities, height, width, channels)


class Robustness:
    """Accuracies with intervals."""

    def __init__(self, measured: Measured, settings: params.Bootstrap) -> None:
        """Draw test rows once for all models, kinds and severities: differences between them are not differences of draws."""
        self.measured = measured
        places = [(kind, model) for kind, models in measured.hits.items() for model in models]
        columns = [measured.hits[kind][model].T for kind, model in places]  # each (rows, 1 + severities)
        self.rows = len(columns[0])
        drawn = resample(np.hstack(columns).astype(np.float64), settings.resamples, settings.seed) / self.rows  # (resamples, all columns)
        ends = np.cumsum([column.shape[1] for column in columns])[:-1]
        self._drawn = dict(zip(places, np.split(drawn, ends, axis=1), strict=True))
        self._confidence = settings.confidence

    def accuracies(self, kind: str, model: str) -> tuple[list[float], list[list[float]]]:
        """By severity, from the unchanged picture on: accuracy, and its interval [low, high]."""
        drawn = self._drawn[kind, model]
        values = [float(value) for value in self.measured.hits[kind][model].mean(axis=1)]
        return values, [interval(column, self._confidence) for column in drawn.T]

    def figures(self) -> dict[str, Any]:
        """`rows`, and kind -> model -> accuracies by severity.

        Beside each, `<model>_interval`, and `<model>_mean` over the severities (without the unchanged pictures) with its own interval.
        """
        result: dict[str, Any] = {"rows": self.rows}
        for kind, models in self.measured.hits.items():
            own = result[kind] = {}
            for model, hits in models.items():
                own[model], own[f"{model}_interval"] = self.accuracies(kind, model)
                own[f"{model}_mean"] = float(hits[1:].mean())
                own[f"{model}_mean_interval"] = interval(self._drawn[kind, model][:, 1:].mean(axis=1), self._confidence)
        return result

    def table(self) -> list[list[object]]:
        """Rows of `COLUMNS`."""
        rows: list[list[object]] = []
        for kind, models in self.measured.hits.items():
            for model in models:
                values, bounds = self.accuracies(kind, model)
                strengths = [0.0, *self.measured.strengths[kind]]
                rows += [[kind, k, strengths[k], model, value, *bounds[k]] for k, value in enumerate(values)]
        return rows
