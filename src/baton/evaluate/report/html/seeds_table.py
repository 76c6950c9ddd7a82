"""Figures of several trainings of the same model: each seed's, their mean and its interval.

Input: the section `seeds` of metrics.json -> a table and sentences.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from baton.evaluate import seeds
from baton.evaluate.report.differences import figure_name, scale_of
from baton.tasks.figure_scale import Scale

MEAN = "_mean"


@dataclass(frozen=True)
class SeedsTable:
    """A row for each model and figure."""

    rows: Sequence[tuple[str, str, str, str, str]]  # model, figure, mean, its interval, each seed's
    several: bool
    said: Sequence[str]


def read(section: Mapping[str, Any], main: Scale, confidence: float) -> SeedsTable:
    """Return the table; intervals are Student's, of the mean over seeds."""
    trained = {model: own for model, own in section.items() if "all" in own}
    several = any(len(own["all"]) > 1 for own in trained.values())
    rows = [
        _row(model, key.removesuffix(MEAN), own, main, confidence)
        for model, own in trained.items()
        for key in own
        if key.endswith(MEAN)
    ]
    return SeedsTable(rows, several, seeds.said(section, main, confidence) if several else [])


def _row(
    model: str, name: str, own: Mapping[str, Any], main: Scale, confidence: float
) -> tuple[str, str, str, str, str]:
    scale = main if name == main.name else scale_of(name)
    found = seeds.student(np.array(own[name]), confidence)
    interval = "–"
    if found.interval is not None:
        low, high = (scale.number(end, 2) for end in found.interval)
        interval = f"{low} to {high}"
    each = ", ".join(
        f"{seed}: {scale.number(value, 2)}" for seed, value in zip(own["all"], own[name], strict=True)
    )
    return model, figure_name(name), scale.value(found.mean, 2), interval, each
