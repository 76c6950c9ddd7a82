"""Plots of predicted numbers: predicted against actual ones, and residuals.

Inputs: an evaluation -> reports/figures/predicted.png and residuals.png.
"""

from pathlib import Path

import numpy as np

from baton.evaluate.evaluation import Evaluation
from baton.evaluate.report.canvas import canvas, colour, short

MOST = 4  # numbers that are drawn
SHOWN = 2000  # rows per model, spread over the test rows


def draw(folder: Path, evaluation: Evaluation) -> None:
    """Draw both plots of the first numbers, a row of axes per number and a column per model."""
    predicted(folder / "predicted.png", evaluation)
    residuals(folder / "residuals.png", evaluation)


def predicted(path: Path, evaluation: Evaluation) -> None:
    """Draw predicted against actual numbers; the diagonal is a perfect model, the band the intervals."""
    names, models, rows = evaluation.names[:MOST], evaluation.drawn, _spread(evaluation)
    with canvas(path, 3.2 * len(models), 3.2 * len(names)) as figure:
        grid = figure.subplots(len(names), len(models), squeeze=False, sharex="row", sharey="row")
        for place, name in enumerate(short(names)):
            actual = evaluation.test.targets[:, place]
            ends = float(actual.min()), float(actual.max())
            for axes, (model, own) in zip(grid[place], models.items(), strict=True):
                axes.plot(ends, ends, color="#555555", linewidth=0.8)
                half = (own.bounds[1] - own.values)[0, place]
                if np.isfinite(half):
                    axes.fill_between(
                        ends, [end - half for end in ends], [end + half for end in ends], color="#eeeeee"
                    )
                axes.scatter(
                    actual[rows],
                    own.values[rows, place],
                    s=5,
                    color=colour(model),
                    alpha=0.35,
                    linewidths=0,
                )
                axes.set_title(model, loc="left", fontsize=10)
                axes.set(xlabel=f"actual {name}", ylabel=f"predicted {name}")
                axes.grid()


def residuals(path: Path, evaluation: Evaluation) -> None:
    """Draw predicted minus actual numbers against predicted ones; a trend is what a model does not use."""
    names, models, rows = evaluation.names[:MOST], evaluation.drawn, _spread(evaluation)
    with canvas(path, 3.2 * len(models), 2.6 * len(names)) as figure:
        grid = figure.subplots(len(names), len(models), squeeze=False, sharey="row")
        for place, name in enumerate(short(names)):
            actual = evaluation.test.targets[:, place]
            for axes, (model, own) in zip(grid[place], models.items(), strict=True):
                values = own.values[:, place]
                axes.axhline(0, color="#555555", linewidth=0.8)
                axes.scatter(
                    values[rows],
                    (values - actual)[rows],
                    s=5,
                    color=colour(model),
                    alpha=0.35,
                    linewidths=0,
                )
                axes.set_title(model, loc="left", fontsize=10)
                axes.set(xlabel=f"predicted {name}", ylabel="predicted - actual")
                axes.grid()


def _spread(evaluation: Evaluation) -> np.ndarray:
    count = len(evaluation.test.targets)
    return np.unique(np.linspace(0, count - 1, min(count, SHOWN)).astype(np.int64))
