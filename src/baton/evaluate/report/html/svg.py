"""Parts of charts as inline SVG: axes, ticks, a frame with a title for screen readers.

Colours, line styles and fonts are classes of report.css. Every text passes through `Markup.format`, which
escapes it.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from baton.evaluate.evaluation import TRANSFORMERS

WIDTH = 340  # units of every chart: about the pixels of a phone's screen
LEFT, RIGHT = 44, 16  # room for half of the last tick’s words
MARKS = {
    "teacher": '<circle cx="{x}" cy="{y}" r="3.2"/>',
    "student": '<rect x="{x0}" y="{y0}" width="6" height="6"/>',
    "control": '<path d="M{x} {y0}l3.8 6.6h-7.6z"/>',
    "other": '<path d="M{x} {y00}l4 4-4 4-4-4z"/>',
}

Formatter = Callable[[float], str]


@dataclass(frozen=True)
class Axis:
    """Values from `low` to `high` at the places from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """Return the place of a value; one beyond the axis lies at its end."""
        inside = min(max(value, self.low), self.high)
        return round(self.start + (inside - self.low) / (self.high - self.low) * (self.end - self.start), 1)

    def ticks(self, most: int = 5) -> list[float]:
        """Return round values on the axis, at most about `most`."""
        rough = (self.high - self.low) / most
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= rough * 0.999)
        first = math.ceil(self.low / step - 1e-9)
        count = math.floor(self.high / step + 1e-9) - first + 1
        return [round((first + place) * step, 12) for place in range(count)]


def axis(values: Iterable[float], start: float, end: float, margin: float = 0.05) -> Axis:
    """Return an axis that holds all finite `values`, with a margin at both ends."""
    finite = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(finite), max(finite)
    room = margin * (high - low) or abs(high) * 0.1 or 1.0
    return Axis(low - room, high + room, start, end)


def kind(model: str) -> str:
    """Return the class of a model's colour and mark."""
    return model if model in TRANSFORMERS else "other"


def mark(model: str, x: float, y: float) -> Markup:
    """Return a model's mark at a place."""
    shape = Markup(MARKS[kind(model)])  # noqa: S704  a constant
    return shape.format(x=x, y=y, x0=round(x - 3, 1), y0=round(y - 3.5, 1), y00=round(y - 4, 1))


def text(x: float, y: float, words: str, style: str = "", anchor: str = "start") -> Markup:
    """Return a text at a place."""
    return Markup('<text x="{}" y="{}" class="{}" text-anchor="{}">{}</text>').format(
        x, y, style, anchor, words
    )


def line(x1: float, y1: float, x2: float, y2: float, style: str) -> Markup:
    """Return a straight line."""
    return Markup('<line x1="{}" y1="{}" x2="{}" y2="{}" class="{}"/>').format(x1, y1, x2, y2, style)


def horizontal(x: Axis, y: float, top: float, shown: Formatter, label: str) -> list[Markup]:
    """Return an axis below a chart from `top` to `y`, with ticks, lines of the grid and a label."""
    parts = [line(x.start, y, x.end, y, "axis")]
    for value in x.ticks():
        place = x.at(value)
        parts += [line(place, top, place, y, "grid"), text(place, y + 14, shown(value), "tick", "middle")]
    return [*parts, text((x.start + x.end) / 2, y + 29, label, "label", "middle")]


def vertical(y: Axis, x: float, right: float, shown: Formatter, label: str, top: float) -> list[Markup]:
    """Return an axis left of a chart from `x` to `right`; its label lies above, at `top`."""
    parts = [line(x, y.start, x, y.end, "axis"), text(2, top, label, "label")]
    for value in y.ticks():
        place = y.at(value)
        parts += [line(x, place, right, place, "grid"), text(x - 5, place + 4, shown(value), "tick", "end")]
    return parts


@dataclass(frozen=True)
class Chart:
    """A drawing with its title, which the page shows above it."""

    title: str
    drawing: Markup


def frame(name: str, title: str, description: str, height: float, parts: Sequence[Markup]) -> Chart:
    """Return a chart; `name` is part of the ids of its title and description."""
    drawing = Markup(
        '<svg viewBox="0 0 {w} {h}" role="img" aria-labelledby="{n}-title {n}-desc">'
        '<title id="{n}-title">{t}</title><desc id="{n}-desc">{d}</desc>{p}</svg>'
    ).format(w=WIDTH, h=height, n=name, t=title, d=description, p=Markup("").join(parts))
    return Chart(title, drawing)


def percent(value: float) -> str:
    """Return a share at a tick."""
    return f"{100 * value:.6g}%".replace("-", "−")


def number(value: float) -> str:
    """Return a number at a tick."""
    return f"{value:.6g}".replace("-", "−")
