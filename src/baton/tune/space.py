"""The values that a study tries: params `tune.ranges` as Optuna's distributions, and back.

Keys are in alphabetical order, so that the order of lines in params.yaml does not matter. A choice is kept as
JSON text, since its values may be sections.
"""

import json
import math
import warnings
from collections.abc import Mapping
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from baton import params
from baton.errors import ParamsError
from baton.params import editing

Space = Mapping[str, BaseDistribution]
Drawn = Mapping[str, Any]  # dotted key -> a value as Optuna keeps it


def distributions(ranges: Mapping[str, params.Range]) -> dict[str, BaseDistribution]:
    """Return the distribution of each key."""
    with warnings.catch_warnings():
        # The last value of a grid that does not end at `high` is the one below it.
        warnings.filterwarnings("ignore", r".*is not divisible by `step`|The distribution is specified by")
        return {key: _distribution(ranges[key]) for key in sorted(ranges)}


def _distribution(own: params.Range) -> BaseDistribution:
    match own:
        case params.FloatRange():
            return FloatDistribution(own.low, own.high, own.log, own.step)
        case params.IntRange():
            return IntDistribution(own.low, own.high, own.log, own.step)
        case params.Choice():
            return CategoricalDistribution([_text(value) for value in own.values])


def changes(drawn: Drawn, ranges: Mapping[str, params.Range]) -> dict[str, Any]:
    """Return the values of params.yaml, by dotted keys."""
    return {
        key: json.loads(value) if isinstance(ranges[key], params.Choice) else value
        for key, value in drawn.items()
    }


def of_recipe(raw: Mapping[str, Any], ranges: Mapping[str, params.Range]) -> dict[str, Any]:
    """Return the values of params.yaml as it is, as Optuna keeps them: those of trial 0.

    Raises:
        ParamsError: a key is missing, or its value is not in its range.
    """
    return {key: _own(key, _value(raw, key), ranges[key]) for key in sorted(ranges)}


def check(raw: Mapping[str, Any], ranges: Mapping[str, params.Range]) -> None:
    """Check that params.yaml is valid with the ends of each range, and with each choice.

    Raises:
        ParamsError: it is not, or the recipe's own value is not in a range.
    """
    of_recipe(raw, ranges)
    for key, own in ranges.items():
        tried = own.values if isinstance(own, params.Choice) else (own.low, own.high)
        for value in tried:
            params.checked(
                editing.replaced(raw, {key: value}),
                params.PATH.with_name(f"{params.PATH.name} with {key} {_text(value)} (tune.ranges)"),
            )


def shown(value: Any) -> str:
    """Return a value as Optuna keeps it in few characters."""
    if isinstance(value, float):
        return f"{value:.3g}"
    return str(value).strip('"')


def _value(raw: Mapping[str, Any], key: str) -> Any:
    found: Any = raw
    for part in key.split("."):
        if not isinstance(found, dict) or part not in found:
            raise ParamsError(
                f"tune.ranges: there is no {key}",
                got=f"no {part}",
                expected="a key of params.yaml with a value",
                hint="correct its name, or write the key into params.yaml",
            )
        found = found[part]
    return found


def _own(key: str, value: Any, own: params.Range) -> Any:
    match own:
        case params.Choice():
            there, kept = value in own.values, _text(value)
        case params.FloatRange() | params.IntRange():
            number = isinstance(value, int | float) and not isinstance(value, bool)
            there = number and own.low <= value <= own.high and _on_grid(value - own.low, own.step)
            kept = value
    if not there:
        expected = (
            f"one of {', '.join(map(_text, own.values))}"
            if isinstance(own, params.Choice)
            else f"a number from {own.low} to {own.high}" + (f" in steps of {own.step}" if own.step else "")
        )
        raise ParamsError(
            f"tune.ranges.{key} does not hold the value that params.yaml has",
            got=_text(value),
            expected=expected,
            hint="widen the range: trial 0 is the recipe as it is, with which others are compared",
        )
    return float(kept) if isinstance(own, params.FloatRange) else kept


def _on_grid(distance: float, step: float | None) -> bool:
    return step is None or math.isclose(distance / step, round(distance / step), abs_tol=1e-8)


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
