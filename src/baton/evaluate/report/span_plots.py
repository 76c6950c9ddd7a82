"""Plots of answers to questions: F1 by the length of the answer, and by the share of questions answered.

Inputs: an evaluation -> reports/figures/f1_by_length.png and coverage.png.
"""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from baton.evaluate import span_outputs
from baton.evaluate.evaluation import Evaluation
from baton.evaluate.report import span_tables
from baton.evaluate.report.canvas import canvas, colour, legend


def draw(folder: Path, evaluation: Evaluation) -> None:
    """Draw both plots."""
    by_length(folder / "f1_by_length.png", evaluation)
    coverage(folder / "coverage.png", evaluation)


def by_length(path: Path, evaluation: Evaluation) -> None:
    """Draw each drawn model's F1, with intervals, by the words of the true answer."""
    boot = evaluation.bootstrap
    values = span_tables.strata(evaluation.test.targets, []).get("answer length")
    order = ["none", *(name for _, name in span_tables.LENGTHS), span_tables.LONGER]
    present = order if values is None else [name for name in order if (values == name).any()]
    with canvas(path, 6.8, 4.0) as figure:
        axes = figure.add_subplot()
        for place, name in enumerate(evaluation.drawn if values is not None else ()):
            found = [
                span_outputs.mean(boot.statistics[name][values == one, span_outputs.F1], boot.confidence)
                for one in present
            ]
            middle, low, high = np.array(found).T
            at = np.arange(len(present)) + 0.1 * (place - 1.5)
            ends = (middle - low, high - middle)
            axes.errorbar(at, middle, ends, fmt="o-", markersize=4, color=colour(name), label=name)
        axes.set_xticks(range(len(present)), present)
        axes.set_xlabel("words of the true answer")
        _share(axes, "F1")
        legend(figure, axes)


def coverage(path: Path, evaluation: Evaluation) -> None:
    """Draw F1 of the questions of which a model is surest, over their share of all questions."""
    boot = evaluation.bootstrap
    with canvas(path, 6.4, 4.0) as figure:
        axes = figure.add_subplot()
        for name in evaluation.drawn:
            points = span_tables.coverage(boot.statistics[name], boot.answers[name])
            axes.plot(*zip(*points, strict=True), color=colour(name), label=name)
        axes.set_xlabel("share of questions, those first of which the model is surest")
        axes.xaxis.set_major_formatter(PercentFormatter(1.0))
        axes.set_xlim(0, 1.01)
        _share(axes, "F1 of these")
        legend(figure, axes)


def _share(axes: Axes, name: str) -> None:
    axes.set_ylabel(name)
    axes.set_ylim(0, 1.02)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.grid(axis="y")
