"""What a learning curve says, in sentences.

Input: a growth and how its figure is written -> sentences.
"""

from dataclasses import dataclass

from baton.evaluate.report.wording import capital, spelled
from baton.labelling.growth import FARTHEST, Growth
from baton.labelling.resampling import Estimate
from baton.tasks.figure_scale import Scale


@dataclass(frozen=True)
class Measured:
    """A learning curve, and what was measured."""

    name: str  # in tables
    said: str  # what was trained, in words
    split: str  # of the rows by which it was measured, in words
    rows: int  # theirs
    draws: int
    figure: Scale
    found: Growth


def sentences(own: Measured) -> list[str]:
    """Return where the curve stands, whether its law holds, and what more labels would bring."""
    return [_now(own), _back_test(own), *_verdict(own)]


def value(own: Measured, error: Estimate) -> str:
    """Return the figure of an error with its interval: 91.2% (90.1 to 92.4)."""
    figure = own.figure
    ends = " to ".join(figure.number(1 - end) for end in (error.high, error.low))
    return f"{figure.value(1 - error.value)} ({ends})"


def fall(own: Measured, found: Estimate) -> str:
    """Return a gain with its interval: +1.2 points (0.4 to 2.0)."""
    low, high = (own.figure.number(end) for end in (found.low, found.high))
    return f"{own.figure.number(found.value, sign='+')} points ({low} to {high})"


def _now(own: Measured) -> str:
    shown = value(own, own.found.measured[-1])
    where = f"with {own.found.labels[-1]:,} labels, on {own.rows:,} rows of {own.split}"
    return f"{capital(own.said)}: {spelled(own.figure.name)} {shown} {where}."


def _back_test(own: Measured) -> str:
    tested = own.found.back_test
    return (
        f"Back-test: the points up to {tested.fitted_to:,} labels predicted {value(own, tested.predicted)} "
        f"for {own.found.labels[-1]:,}; measured: {own.figure.value(1 - tested.measured)}."
    )


def _verdict(own: Measured) -> list[str]:
    found = own.found
    recent = f"over the last two doublings the change is {fall(own, found.recent)}"
    match found.verdict:
        case "flat":
            said = (
                f"The curve is flat: {recent}. More labels like these are not likely to help: try another "
                "base model, and look for wrong labels and for rows that lack what decides their class."
            )
            return [said]
        case "noisy":
            said = f"The curve is too noisy for a forecast: {recent}"
            return [f"{said}. More rows to measure on would tell, or more draws (--draws, --seeds)."]
        case "unpredicted":
            return ["No forecast, since the law missed the last point in the back-test."]
        case "grows":
            return [
                f"+{gain.more:,} labels: "
                + (
                    fall(own, gain.fall)
                    if gain.fall is not None
                    else f"too far from the labels at hand to say (more than {FARTHEST} times as many in all)"
                )
                for gain in found.gains
            ]
