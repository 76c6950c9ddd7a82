"""Charts of several models: lines or points by a shared pair of axes.

Inputs: points of each model -> SVG.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from baton.evaluate.report.html import svg

HEIGHT = 210  # of the part with data
LEGEND = 16  # of a line of the legend
COLUMNS = 2  # of the legend


@dataclass(frozen=True)
class Series:
    """What one model has."""

    model: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Scales:
    """Ends, labels and formats of the axes; ends that are None follow from the points."""

    x_label: str
    y_label: str
    x_ends: tuple[float, float] | None = None
    y_ends: tuple[float, float] | None = None
    x_shown: svg.Formatter = svg.percent
    y_shown: svg.Formatter = svg.percent


def draw(
    name: str,
    title: str,
    description: str,
    series: Sequence[Series],
    scales: Scales,
    lines: bool = True,
    marks: bool = True,
    diagonal: bool = False,
) -> svg.Chart | None:
    """Return a chart of the series that have points; None without any.

    Args:
        name: of the chart, for its ids.
        title: of the chart.
        description: what it shows, for a screen reader.
        series: of the models.
        scales: of the axes.
        lines: whether points are joined.
        marks: whether each point has a mark.
        diagonal: whether to draw where both values are equal.
    """
    shown = [one for one in series if one.points]
    if not shown:
        return None
    top = 30 + LEGEND * -(-len(shown) // COLUMNS)
    bottom = top + HEIGHT
    xs, ys = ([point[axis] for one in shown for point in one.points] for axis in (0, 1))
    x = _axis(scales.x_ends, xs, svg.LEFT, svg.WIDTH - svg.RIGHT)
    y = _axis(scales.y_ends, ys, bottom, top)
    parts = [
        *_legend(shown),
        *svg.horizontal(x, bottom, top, scales.x_shown, scales.x_label),
        *svg.vertical(y, svg.LEFT, svg.WIDTH - svg.RIGHT, scales.y_shown, scales.y_label, top - 10),
    ]
    if diagonal:
        parts.append(_diagonal(x, y))
    for one in shown:
        places = [(x.at(left), y.at(up)) for left, up in one.points]
        parts.append(_drawn(one.model, places, lines, marks))
    return svg.frame(name, title, description, bottom + 36, parts)


def _axis(ends: tuple[float, float] | None, values: Sequence[float], start: float, end: float) -> svg.Axis:
    return svg.Axis(*ends, start, end) if ends else svg.axis(values, start, end)


def _diagonal(x: svg.Axis, y: svg.Axis) -> Markup:
    low, high = max(x.low, y.low), min(x.high, y.high)
    return svg.line(x.at(low), y.at(low), x.at(high), y.at(high), "reference")


def _drawn(model: str, places: Sequence[tuple[float, float]], lines: bool, marks: bool) -> Markup:
    parts = []
    if lines:
        path = " ".join(f"{x:g},{y:g}" for x, y in places)
        parts.append(Markup('<polyline points="{}"/>').format(path))
    if marks:
        parts += [svg.mark(model, x, y) for x, y in places]
    return Markup('<g class="series m-{}">{}</g>').format(svg.kind(model), Markup("").join(parts))


def _legend(series: Sequence[Series]) -> list[Markup]:
    parts = []
    for place, one in enumerate(series):
        x, y = place % COLUMNS * svg.WIDTH / COLUMNS, 11 + place // COLUMNS * LEGEND
        parts.append(
            Markup('<g class="series m-{}"><polyline points="{},{} {},{}"/>{}</g>{}').format(
                svg.kind(one.model),
                x + 2,
                y - 4,
                x + 24,
                y - 4,
                svg.mark(one.model, x + 13, y - 4),
                svg.text(x + 30, y, one.model, "tick"),
            )
        )
    return parts
