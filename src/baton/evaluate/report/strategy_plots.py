"""A plot of strategies: a figure against the number of labels.

Input: a line with a band for each strategy -> a PNG. The same values give the same bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import NullFormatter, NullLocator, PercentFormatter
from numpy.typing import NDArray

from baton.evaluate.report.canvas import OTHERS, canvas, short
from baton.evaluate.report.wording import spelled
from baton.tasks.figure_scale import Scale

# Okabe and Ito's colours without yellow, which print does not show, and darker ones. Marks and strokes tell
# lines apart in black and white too.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#7A4F9A", "#8C564B")
MARKS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*", "h")
STROKES = ("-", "--", "-.")
Look = dict[str, Any]
DOTS = (":", (0, (1, 3)), (0, (3, 1, 1, 1)))  # of baselines


@dataclass(frozen=True)
class Line:
    """A strategy or baseline; all tuples have one entry for each number of labels at which it was tried."""

    name: str
    labels: tuple[float, ...]
    means: tuple[float, ...]
    ends: tuple[tuple[float, float] | None, ...]  # of the interval, if it is known
    baseline: bool


def draw(
    path: Path, lines: Sequence[Line], ticks: Sequence[tuple[float, str]], figure: Scale, unit: str
) -> None:
    """Draw the lines; `ticks` are numbers of labels and how they are written, `unit` is what they count.

    With one number of labels, each strategy is a row.
    """
    with canvas(path, 8.6, 4.8) as drawn:
        axes = drawn.add_subplot()
        looks = [
            (line, _baseline(place) if baseline else _strategy(place))
            for baseline in (False, True)
            for place, line in enumerate(own for own in lines if own.baseline is baseline)
        ]
        shown = f"{spelled(figure.name)} on test"
        values: Axis = axes.yaxis
        if len(ticks) == 1:
            _rows(axes, looks)
            axes.set(xlabel=f"{shown}, {ticks[0][1]} {unit}")
            values = axes.xaxis
        else:
            for line, look in looks:
                _line(axes, line, look)
            axes.set_xscale("log")
            axes.set_xticks([place for place, _ in ticks], [text for _, text in ticks])
            axes.xaxis.set_minor_locator(NullLocator())
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.set(xlabel=unit, ylabel=shown)
            drawn.legend(loc="outside right upper", frameon=False)
        if figure.share:
            values.set_major_formatter(PercentFormatter(1))
        axes.grid()


def _line(axes: Axes, line: Line, look: Look) -> None:
    axes.plot(line.labels, line.means, markersize=5, label=line.name, **look)
    low, high = _ends(line)
    axes.fill_between(line.labels, low, high, color=look["color"], alpha=0.12, linewidth=0)
    if len(line.labels) == 1:  # a band of one point is not visible
        axes.vlines(line.labels, low, high, color=look["color"], linewidth=1)


def _rows(axes: Axes, looks: Sequence[tuple[Line, Look]]) -> None:
    for place, (line, look) in enumerate(looks):
        axes.hlines([place], *_ends(line), color=look["color"], linewidth=2)
        axes.plot(line.means, [place], color=look["color"], marker=look.get("marker", "|"), markersize=7)
    axes.set_yticks(range(len(looks)), short([line.name for line, _ in looks]))
    axes.invert_yaxis()


def _ends(line: Line) -> NDArray[np.float64]:
    """Return both ends of the intervals, (2, labels); NaN where they are not known."""
    return np.array([ends or (np.nan, np.nan) for ends in line.ends], np.float64).T


def _strategy(place: int) -> Look:
    return {
        "color": COLOURS[place % len(COLOURS)],
        "linestyle": STROKES[place % len(STROKES)],
        "marker": MARKS[place % len(MARKS)],
        "linewidth": 1.5,
    }


def _baseline(place: int) -> Look:
    return {"color": OTHERS, "linestyle": DOTS[place % len(DOTS)], "linewidth": 2.2}
