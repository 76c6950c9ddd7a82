"""A plot of strategies: a figure against the number of labels.

Input: a line with a band for each strategy -> a PNG. The same values give the same bytes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter, NullLocator, PercentFormatter

from baton.evaluate.report.canvas import OTHERS, canvas
from baton.evaluate.report.wording import spelled
from baton.tasks.figure_scale import Scale

# Okabe and Ito's colours without yellow, which print does not show, and darker ones. Marks and strokes tell
# lines apart in black and white too.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#7A4F9A", "#8C564B")
MARKS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*", "h")
STROKES = ("-", "--", "-.")
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
    """Draw the lines; `ticks` are numbers of labels and how they are written, `unit` is what they count."""
    with canvas(path, 8.6, 4.8) as drawn:
        axes = drawn.add_subplot()
        axes.set_xscale("log")
        for baseline in (False, True):
            for place, line in enumerate(own for own in lines if own.baseline is baseline):
                _draw(axes, line, _baseline(place) if baseline else _strategy(place))
        axes.set_xticks([place for place, _ in ticks], [text for _, text in ticks])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_minor_formatter(NullFormatter())
        if figure.share:
            axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.set(xlabel=unit, ylabel=f"{spelled(figure.name)} on test")
        axes.grid()
        drawn.legend(loc="outside right upper", frameon=False)


def _draw(axes: Axes, line: Line, look: Mapping[str, Any]) -> None:
    axes.plot(line.labels, line.means, markersize=5, label=line.name, **look)
    low, high = np.array([ends or (np.nan, np.nan) for ends in line.ends], np.float64).T  # (labels,) each
    axes.fill_between(line.labels, low, high, color=look["color"], alpha=0.12, linewidth=0)
    if len(line.labels) == 1:  # a band of one point is not visible
        axes.vlines(line.labels, low, high, color=look["color"], linewidth=1)


def _strategy(place: int) -> dict[str, Any]:
    return {
        "color": COLOURS[place % len(COLOURS)],
        "linestyle": STROKES[place % len(STROKES)],
        "marker": MARKS[place % len(MARKS)],
        "linewidth": 1.5,
    }


def _baseline(place: int) -> dict[str, Any]:
    return {"color": OTHERS, "linestyle": DOTS[place % len(DOTS)], "linewidth": 2.2}
