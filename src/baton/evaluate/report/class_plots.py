"""Plots of classifiers: confusions, reliability, F1 per class.

Inputs: results of `class_tables`, `calibration` and `significance` -> reports/figures/*.png.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from baton.evaluate.calibration import Calibration
from baton.evaluate.evaluation import Evaluation
from baton.evaluate.report import class_tables
from baton.evaluate.report.canvas import canvas, colour, legend, short

# Maximum number of classes for numbers in cells, for names on axes, and in the F1 plot.
MOST_COUNTS, MOST_NAMES, MOST_CLASSES = 30, 60, 40


def draw(folder: Path, evaluation: Evaluation) -> None:
    """Draw confusions and reliability of the drawn models, and the F1 of each class."""
    for name, output in evaluation.drawn.items():
        counts = class_tables.confusion(evaluation.test.targets, output.predicted, len(evaluation.names))
        confusion(folder / f"confusion_{name}.png", name, evaluation.names, counts)
    reliability(folder / "reliability.png", class_tables.calibrations(evaluation))
    f1 = {name: evaluation.bootstrap.per_class(name)["f1"] for name in evaluation.drawn}
    per_class_f1(folder / "per_class_f1.png", evaluation.names, f1)


def confusion(path: Path, title: str, names: Sequence[str], counts: NDArray[np.int64]) -> None:
    """Draw the confusion matrix (actual, predicted).

    Colour is the share of the actual class, numbers are rows; the diagonal has its own colours.
    """
    classes = len(names)
    side = float(np.clip(0.42 * classes, 3.6, 16))
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    right = np.eye(classes, dtype=bool)
    with canvas(path, side + 2.6, side + 2.2) as figure:
        axes = figure.add_subplot()
        axes.imshow(np.where(right, share, np.nan), cmap="Blues", vmin=0, vmax=1.3)
        # Mistakes have their own colours, on a scale that makes a share of a tenth clearly visible.
        axes.imshow(np.where(right | (counts == 0), np.nan, share), cmap="Oranges", vmin=-0.02, vmax=0.25)
        if classes <= MOST_COUNTS:
            for row, column in zip(*np.nonzero(counts), strict=True):
                dark = share[row, column] > (0.75 if row == column else 0.15)
                axes.text(
                    column,
                    row,
                    str(counts[row, column]),
                    ha="center",
                    va="center",
                    fontsize=8,
                    color="white" if dark else "black",
                )
        if classes <= MOST_NAMES:
            axes.set_xticks(
                range(classes),
                short(names),
                rotation=90 if classes > 10 else 45,
                ha="center" if classes > 10 else "right",
            )
            if classes <= 10:
                for label in axes.get_xticklabels():
                    label.set_rotation_mode("anchor")
            axes.set_yticks(range(classes), short(names))
        axes.set_xlabel("predicted")
        axes.set_ylabel("actual")
        axes.set_title(f"{title}: {int(np.trace(counts))} of {int(counts.sum())} right", loc="left")
        axes.set_xticks(np.arange(1, classes) - 0.5, minor=True)
        axes.set_yticks(np.arange(1, classes) - 0.5, minor=True)
        axes.grid(which="minor", linewidth=0.5)
        axes.tick_params(which="both", length=0)


def reliability(path: Path, models: dict[str, Calibration]) -> None:
    """Draw accuracy against confidence, and the distribution of confidence, one column per model.

    Filled marks are at the temperature.
    """
    with canvas(path, 3.1 * len(models) + 0.5, 4.9) as figure:
        grid = figure.subplots(2, len(models), sharex=True, sharey="row", height_ratios=[3, 1], squeeze=False)
        for column, (name, model) in enumerate(models.items()):
            upper, lower = grid[:, column]
            own, scaled, raw = colour(name), model.scaled, model.raw
            width, centre = np.diff(scaled.edges), (scaled.edges[:-1] + scaled.edges[1:]) / 2
            filled = scaled.count > 0
            upper.plot([0, 1], [0, 1], color="#888888", linewidth=1, linestyle="--")
            upper.bar(
                centre[filled],
                scaled.accuracy[filled],
                width[filled],
                color=own,
                alpha=0.35,
                edgecolor="white",
            )
            upper.plot(
                scaled.confidence[filled],
                scaled.accuracy[filled],
                "o",
                markersize=4,
                color=own,
                clip_on=False,
            )
            upper.plot(
                raw.confidence,
                raw.accuracy,
                "o",
                markersize=6,
                color=own,
                fillstyle="none",
                markeredgewidth=0.8,
                clip_on=False,
            )
            errors = (
                f"{value:.3f} ({low:.3f} to {high:.3f})"
                for value, (low, high) in (model.scaled_error, model.raw_error)
            )
            after, before = errors
            upper.set_title(
                f"{name}\nerror {after} at T = {model.temperature:.2f}\nas trained {before}", fontsize=9
            )
            upper.set(xlim=(0, 1), ylim=(0, 1))
            lower.bar(centre, scaled.count / scaled.count.sum(), width, color=own, edgecolor="white")
            lower.stairs(raw.count / raw.count.sum(), raw.edges, color="black", linewidth=0.8)
            lower.set(xlabel="confidence", ylim=(0, 1))
            lower.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
            for axes in (upper, lower):
                axes.grid()
        grid[0, 0].set_ylabel("accuracy (rings, and line below: as trained)")
        grid[1, 0].set_ylabel("rows")


def hardest(values: NDArray[np.float64], bounds: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return classes by rising value, of equal ones first those whose interval (2, classes) is narrow.

    Of many classes that a model never finds, those with most rows matter most.
    """
    return np.lexsort((np.nan_to_num(bounds[1] - bounds[0], nan=2), np.nan_to_num(values, nan=2)))


def per_class_f1(
    path: Path,
    names: Sequence[str],
    models: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]],
    counted: str = "classes",
) -> None:
    """Draw each class's F1 as a bar with its interval, the hardest classes (by the first model) on top.

    `models` maps a name to values (classes) and bounds (2, classes); NaN is not drawn.
    """
    order = hardest(*next(iter(models.values())))[:MOST_CLASSES]
    height, place = 0.8 / len(models), np.arange(len(order))
    bounds = [value for _, both in models.values() for value in both[0][order] if not np.isnan(value)]
    start = max(0.0, np.floor(min(bounds, default=0.0) * 10 - 0.5) / 10)
    with canvas(path, 8, 1.3 + len(order) * (0.12 * len(models) + 0.1)) as figure:
        axes = figure.add_subplot()
        for index, (name, (f1, both)) in enumerate(models.items()):
            y = place + (index - (len(models) - 1) / 2) * height
            known = ~np.isnan(f1[order])
            shown, low, high = f1[order][known], both[0][order][known], both[1][order][known]
            axes.barh(y[known], shown - start, height, left=start, color=colour(name), label=name)
            axes.hlines(y[known], low, high, color="black", linewidth=0.9)
        axes.set_yticks(place, short([names[k] for k in order]))
        axes.set_ylim(len(order) - 0.4, -0.6)
        axes.set(
            xlim=(start, 1),
            xlabel="F1 on test, with interval" + (f" (axis starts at {start:.1f})" if start else ""),
        )
        if len(order) < len(names):
            axes.set_title(f"the {len(order)} hardest of {len(names)} {counted}", loc="left", fontsize=10)
        axes.grid(axis="x")
        axes.tick_params(axis="y", length=0)
        legend(figure, axes)
