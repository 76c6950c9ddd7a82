"""Accuracy of several models on the same test rows under corruptions of increasing severity.

Inputs: hits of every model on every row, unchanged and at every severity -> accuracies with intervals for
reports/metrics.json and reports/tables/robustness.csv.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baton import params
from baton.evaluate.proportions import wilson

COLUMNS = ["corruption", "severity", "strength", "model", "accuracy", "low", "high"]


@dataclass(frozen=True)
class Measured:
    """The measurements by kind of corruption; severity 0 is the unchanged image."""

    strengths: dict[str, list[float]]  # kind -> strengths of severities 1, 2, …
    hits: dict[str, dict[str, NDArray[np.bool_]]]  # kind -> model -> (1 + severities, rows)
    # kind -> one image at every severity, (1 + severities, height, width, channels)
    examples: dict[str, NDArray[np.uint8]]


class Robustness:
    """Accuracies with intervals."""

    def __init__(self, measured: Measured, settings: params.Bootstrap) -> None:
        """Wrap measurements; every model's hits at every severity are on the same test rows."""
        self.measured = measured
        self.rows = next(iter(next(iter(measured.hits.values())).values())).shape[1]
        self._confidence = settings.confidence

    def accuracies(self, kind: str, model: str) -> tuple[list[float], list[list[float]]]:
        """Return accuracies by severity and their intervals [low, high] (Wilson's).

        Both start with the unchanged image.
        """
        right = self.measured.hits[kind][model].sum(axis=1)
        low, high = wilson(right, self.rows, self._confidence)
        return [float(value) for value in right / self.rows], [
            [float(a), float(b)] for a, b in zip(low, high, strict=True)
        ]

    def mean(self, kind: str, model: str) -> tuple[float, list[float]]:
        """Return the accuracy over all severities, without the unchanged image, with its interval.

        It is Wilson's interval for the effective number of rows. The images of one row are right or wrong
        together to some degree, so they count as at least one row and at most as many as there are
        severities: the variance of a single answer over that of a row's mean (Kish 1965, Survey sampling: the
        design effect).
        """
        own = self.measured.hits[kind][model][1:].mean(axis=0)  # (rows)
        value, spread = float(own.mean()), float(own.var())
        severities = len(self.measured.strengths[kind])
        worth = self.rows * (min(max(value * (1 - value) / spread, 1.0), severities) if spread else 1.0)
        low, high = wilson(value * worth, worth, self._confidence)
        return value, [float(low), float(high)]

    def figures(self) -> dict[str, Any]:
        """Return `rows`, and kind -> model -> accuracies by severity.

        Each comes with `<model>_interval`, and with `<model>_mean` over the severities (without the unchanged
        images) and its interval.
        """
        result: dict[str, Any] = {"rows": self.rows}
        for kind, models in self.measured.hits.items():
            own = result[kind] = {}
            for model in models:
                own[model], own[f"{model}_interval"] = self.accuracies(kind, model)
                own[f"{model}_mean"], own[f"{model}_mean_interval"] = self.mean(kind, model)
        return result

    def table(self) -> list[list[object]]:
        """Return rows of `COLUMNS`."""
        rows: list[list[object]] = []
        for kind, models in self.measured.hits.items():
            for model in models:
                values, bounds = self.accuracies(kind, model)
                strengths = [0.0, *self.measured.strengths[kind]]
                rows += [[kind, k, strengths[k], model, value, *bounds[k]] for k, value in enumerate(values)]
        return rows
