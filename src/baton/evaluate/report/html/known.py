"""What the verdict of the HTML report is about, and the form of its answers.

Inputs: metrics.json, timings.json and the differences between models -> their figures in words.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from baton.evaluate.report import differences
from baton.evaluate.report.differences import Difference, figure_name
from baton.tasks.figure_scale import Scale


@dataclass(frozen=True)
class Point:
    """A question that a reader has, and its answer."""

    question: str
    answer: str
    more: str = ""  # what the answer rests on


@dataclass(frozen=True)
class Known:
    """What the verdict is about."""

    metrics: Mapping[str, Any]
    timings: Mapping[str, Any]
    main: Scale
    found: Sequence[Difference]

    @property
    def recommended(self) -> str:
        """The model that validation chose."""
        return str(self.metrics["recommended"]["model"])

    @property
    def best(self) -> str | None:
        """The strongest baseline."""
        name: str | None = self.metrics["test"]["strongest_baseline"]
        return name

    def figure(self, model: str) -> str:
        """Return a model's main figure on test with its interval, in words."""
        own, name = self.metrics[model], self.main.name
        shown = f"{figure_name(name)} {self.main.value(own[name])}"
        if f"{name}_interval" not in own:
            return shown
        low, high = (self.main.number(end) for end in own[f"{name}_interval"])
        return f"{shown} ({low} to {high})"

    def said(self, first: str, second: str) -> str:
        """Return a sentence on two models; empty if they were not compared."""
        own = differences.of_pair(self.found, first, second)
        if not own:
            return ""
        excluded = self.metrics["comparison"][f"{first}_vs_{second}"].get("excluded")
        return differences.said(own, excluded)
