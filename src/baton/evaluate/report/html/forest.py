"""Forest plots: the differences between models, one chart per figure.

Input: `Difference`s -> SVG.
"""

from collections.abc import Sequence

from markupsafe import Markup

from baton.evaluate.report.differences import Difference
from baton.evaluate.report.html import svg
from baton.evaluate.report.wording import capital

ROW = 34  # of a difference: its words, and below them its interval
TOP = 4


def charts(found: Sequence[Difference]) -> list[svg.Chart]:
    """Return a chart for each figure, in the order in which they are compared."""
    figures = dict.fromkeys(one.scale.name for one in found)
    return [_chart([one for one in found if one.scale.name == figure]) for figure in figures]


def _chart(own: Sequence[Difference]) -> svg.Chart:
    scale, bottom = own[0].scale, TOP + ROW * len(own)
    ends = [end for one in own for end in (one.interval or (one.value, one.value))]
    x = svg.axis([0.0, *ends], 10, svg.WIDTH - 10, 0.08)

    def tick(value: float) -> str:
        return (f"{100 * value:+.4g}" if scale.share else f"{value:+.4g}").replace("-", "−")

    words = "← worse · points · better →" if scale.share else "← worse · better →"
    if scale.direction < 0:
        words = words.replace("worse", "\0").replace("better", "worse").replace("\0", "better")
    parts = svg.horizontal(x, bottom, TOP, lambda value: tick(value) if value else "0", words)
    parts.append(svg.line(x.at(0), TOP, x.at(0), bottom, "zero"))
    for place, one in enumerate(own):
        parts += _row(one, x, TOP + place * ROW)
    title = capital(own[0].name)
    described = "; ".join(f"{one.first} minus {one.second}: {one.shown}" for one in own)
    return svg.frame(f"forest-{scale.name.replace('_', '-')}", title, described, bottom + 36, parts)


def _row(one: Difference, x: svg.Axis, top: float) -> list[Markup]:
    y = top + 24
    style = ("better" if one.better else "worse") if one.differs else "same"
    drawn = [svg.text(10, top + 14, f"{one.first} − {one.second}: {one.shown}", f"row {style}")]
    if one.interval:
        low, high = (x.at(end) for end in one.interval)
        drawn.append(svg.line(low, y, high, y, f"interval {style}"))
    dot = Markup('<circle cx="{}" cy="{}" r="4" class="dot {}"/>').format(x.at(one.value), y, style)
    return [*drawn, dot]
