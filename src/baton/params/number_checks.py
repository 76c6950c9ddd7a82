"""What params may not ask of numbers: checks over sections, in `reading.Params`.

Input: the whole of params -> problems, each with its YAML path and the way out.
"""

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from baton.params.lifecycle import Gain, Promotion
from baton.params.preprocess import FilesPreprocess, Preprocess
from baton.params.task import NumbersTask

if TYPE_CHECKING:
    from baton.params.reading import Params

ENDS = ("low", "high")  # suffixes of the columns of intervals in a served answer
ERRORS = ("mae", "rmse")  # figures in the unit of the numbers


def problems(asked: "Params") -> Iterator[str]:
    """Yield the problems of the columns of numbers, and of limits on figures that are at most 1."""
    numbers = isinstance(asked.task, NumbersTask)
    if numbers:
        yield from _columns(asked.preprocess)
    if not numbers or asked.promotion.metric not in ERRORS:
        yield from _shares(asked.promotion)


def _columns(preprocess: Preprocess) -> Iterator[str]:
    column = preprocess.label_column
    names = [column] if isinstance(column, str) else list(column)
    answered = Counter([*names, *(f"{name}_{end}" for name in names for end in ENDS)])
    if isinstance(preprocess, FilesPreprocess) and not isinstance(column, str):
        yield f"preprocess.label_column: {preprocess.thing} rows have one number: name one column"
    elif repeated := [name for name, count in answered.items() if count > 1]:
        yield (
            f"preprocess.label_column: {repeated[0]} would be two columns of a model's answer, which has "
            f"NAME, NAME_{ENDS[0]} and NAME_{ENDS[1]} of each number: rename it"
        )


def _shares(promotion: Promotion) -> Iterator[str]:
    """Yield the limits that no figure of at most 1 can reach."""
    rule, floor = promotion.rule, promotion.permanent_floor
    limits = {"first_minimum": promotion.first_minimum if promotion.first_minimum > 1 else None}
    margin = ("minimum", rule.minimum) if isinstance(rule, Gain) else ("margin", rule.margin)
    limits[f"rule.{margin[0]}"] = margin[1] if margin[1] >= 1 else None
    for key in ("below_best", "below_baseline"):
        value = getattr(floor, key) if floor else None
        limits[f"permanent_floor.{key}"] = value if value is not None and value >= 1 else None
    for key, value in limits.items():
        if value is not None:
            most = "at most" if key == "first_minimum" else "less than"
            yield f"promotion.{key}: {promotion.metric} is at most 1: set it to {most} 1; got {value:g}"
