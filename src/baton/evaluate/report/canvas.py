"""The canvas of all plots: size, style and colours.

The same values give the same bytes, whatever the user's own settings are.
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

# Okabe and Ito's colours, which colour-blind readers can distinguish too.
COLOURS = {"teacher": "#0072B2", "student": "#D55E00", "control": "#009E73"}
OTHERS = "#777777"
LONGEST = 26  # characters of a class name
STYLE: Any = {
    "text.parse_math": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
}


@contextmanager
def canvas(path: Path, width: float, height: float, arranged: bool = True) -> Iterator[Figure]:
    """Yield a figure of `width` by `height` inches in the default style, and write it to `path` at the end.

    The file contains no time or version. If `arranged`, a layout engine keeps the parts from overlapping;
    otherwise they stay where they are placed.
    """
    with mpl.rc_context(), warnings.catch_warnings():
        # A name in a script that matplotlib's own font lacks is drawn as boxes; the tables hold it unchanged.
        warnings.filterwarnings("ignore", r"Glyph .* missing from font")
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        figure = Figure(figsize=(width, height), layout="constrained" if arranged else None)
        FigureCanvasAgg(figure)
        yield figure
        figure.savefig(path, format="png", dpi=120, metadata={"Software": None})


def legend(figure: Figure, axes: Axes) -> None:
    """Explain the lines of `axes` above the whole figure."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=len(labels), frameon=False)


def colour(name: str) -> str:
    """Return a model's own colour; grey for baselines."""
    return COLOURS.get(name, OTHERS)


def short(names: Sequence[str], longest: int = LONGEST) -> list[str]:
    """Return names in one line of at most `longest` characters."""
    lines = [" ".join(name.split()) for name in names]
    return [line if len(line) <= longest else line[: longest - 1] + "…" for line in lines]
