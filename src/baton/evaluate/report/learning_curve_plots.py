"""A plot of learning curves: a figure against the number of labels, with a law that goes on.

Input: points and the law of each curve -> a PNG. The same values give the same bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter, PercentFormatter, StrMethodFormatter

from baton.evaluate.report.canvas import canvas
from baton.evaluate.report.strategy_plots import COLOURS, MARKS
from baton.tasks.figure_scale import Scale

Point = tuple[float, float, float, float]  # labels; value, low and high of the figure


@dataclass(frozen=True)
class Course:
    """A learning curve."""

    name: str
    points: tuple[Point, ...]  # as measured; the last has all labels
    law: tuple[Point, ...]


def draw(path: Path, curves: Sequence[Course], figure: Scale) -> None:
    """Draw the curves. The law is a line, dashed and with a band beyond the labels at hand."""
    with canvas(path, 7.6, 4.6) as drawn:
        axes = drawn.add_subplot()
        for place, curve in enumerate(curves):
            _curve(axes, curve, COLOURS[place], MARKS[place])
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.yaxis.set_major_formatter(PercentFormatter(100 if not figure.share else 1))
        axes.set(xlabel="labels of train")  # the curves may be of different figures
        axes.grid()
        axes.legend(frameon=False, loc="lower right")


def _curve(axes: Axes, curve: Course, colour: str, mark: str) -> None:
    labels, values, low, high = np.array(curve.points).T
    axes.errorbar(
        labels,
        values,
        yerr=[values - low, high - values],
        fmt=mark,
        color=colour,
        markersize=5,
        elinewidth=1,
        label=curve.name,
    )
    known = np.array([point for point in curve.law if point[0] <= labels[-1]])
    beyond = np.array([point for point in curve.law if point[0] >= labels[-1]])
    axes.plot(known[:, 0], known[:, 1], color=colour, linewidth=1.2)
    if len(beyond) > 1:
        axes.plot(beyond[:, 0], beyond[:, 1], color=colour, linewidth=1.2, linestyle="--")
        axes.fill_between(beyond[:, 0], beyond[:, 2], beyond[:, 3], color=colour, alpha=0.12, linewidth=0)
