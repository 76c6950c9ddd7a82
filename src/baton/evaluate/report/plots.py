"""Plots as PNG: only this module and the others of this package draw. The same values give the same bytes.

Inputs: an evaluation -> reports/figures/*.png, and reports/speed/*.png from timings.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from baton.evaluate.evaluation import Evaluation
from baton.evaluate.inputs import Curve
from baton.evaluate.report import image_plots
from baton.evaluate.report.canvas import canvas, colour, legend
from baton.evaluate.report.wording import spelled
from baton.evaluate.task_reports import TaskReports
from baton.tasks.figure_scale import Scale

STYLES = {"o-": "solid", "s--": "dashed", "^:": "dotted"}  # of figures in one plot, the first ones of a task


def draw(folder: Path, task: TaskReports, evaluation: Evaluation) -> None:
    """Draw every plot that does not depend on speed."""
    task.draw(folder, evaluation)
    shown = [figure for figure in task.figures.directions if figure != "loss"]
    learning_curves(folder / "learning_curves.png", evaluation.curves, shown, task.words.loss)
    image_plots.draw(folder, evaluation)


def learning_curves(
    path: Path, curves: dict[str, Curve], figures: Sequence[str], loss_name: str = "log loss"
) -> None:
    """Draw training loss, validation loss, and the other `figures` on validation by epoch.

    The thin training loss is as logged, the thick one a running mean.
    """
    with canvas(path, 12, 3.9) as figure:
        left, middle, right = figure.subplots(1, 3)
        for name, curve in curves.items():
            own = colour(name)
            epochs, loss = np.array(curve.training["epoch"]), np.array(curve.training["loss"])
            left.plot(epochs, loss, color=own, linewidth=0.6, alpha=0.35)
            left.plot(epochs, _running_mean(loss), color=own, label=name)
            middle.plot(
                curve.validation["epoch"], curve.validation["val_loss"], "o-", color=own, markersize=4
            )
            for shown, style in zip(figures, STYLES, strict=False):
                right.plot(
                    curve.validation["epoch"],
                    curve.validation[f"val_{shown}"],
                    style,
                    color=own,
                    markersize=4,
                )
        left.set_title("training loss (student: with the teacher's part)", loc="left", fontsize=10)
        middle.set_title(f"validation {loss_name}", loc="left", fontsize=10)
        words = (f"{spelled(shown)} ({STYLES[style]})" for shown, style in zip(figures, STYLES, strict=False))
        right.set_title(f"validation {', '.join(words)}", loc="left", fontsize=10)
        left.set_ylim(bottom=0)
        middle.set_ylim(bottom=0)
        last = max(
            epoch
            for curve in curves.values()
            for epoch in curve.training["epoch"] + curve.validation["epoch"]
        )
        for axes in (left, middle, right):
            axes.set(xlabel="epoch", xlim=(0, 1.03 * last))
            axes.xaxis.set_major_locator(MaxNLocator(6))
            axes.grid()
        legend(figure, left)


def speed_accuracy(path: Path, models: dict[str, dict[str, Any]], figure: Scale) -> None:
    """Draw a figure with interval against samples per second; a dot's area is the model's size.

    `models` maps a name to the model's metrics and timings.
    """
    with canvas(path, 6.5, 4.2) as drawn:
        axes = drawn.add_subplot()
        largest = max(model["parameters"] for model in models.values())
        for index, (name, model) in enumerate(models.items()):
            speed, value, own = model["samples_per_second"], model[figure.name], colour(name)
            axes.vlines(speed, *model[f"{figure.name}_interval"], color=own, linewidth=1.5)
            axes.scatter(
                speed, value, s=400 * model["parameters"] / largest, color=own, alpha=0.8, linewidths=0
            )
            label = f"{name}, {model['parameters'] / 1e6:.1f} M"
            axes.annotate(
                label,
                (speed, value),
                xytext=(12, 6 if index % 2 == 0 else -14),
                textcoords="offset points",
                color=own,
            )
        axes.set_xlim(0, 1.35 * max(model["samples_per_second"] for model in models.values()))
        axes.set(xlabel="samples per second", ylabel=f"test {spelled(figure.name)}, with interval")
        if figure.share:
            axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=1))
        axes.grid()


def _running_mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the centred mean over a window of a twentieth of the points, shorter at the ends."""
    half = max(1, len(values) // 40)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    ends, starts = (
        np.minimum(np.arange(len(values)) + half + 1, len(values)),
        np.maximum(np.arange(len(values)) - half, 0),
    )
    return np.asarray((sums[ends] - sums[starts]) / (ends - starts))
