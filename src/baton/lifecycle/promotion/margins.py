"""Decide whether a challenger is better, not worse by more than a margin, or good enough as first champion.

The lower end of an interval (`evaluate.significance`) decides: Wilson's for a proportion, Tango's for a
difference on the same rows. Unlike a bootstrap's, neither collapses on a table without mistakes. For macro F1
it is the wider of the bootstrap's interval and one made of those two. A table that is too small to decide is
refused, with the number of rows that would be enough.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from baton import params
from baton.evaluate import proportions
from baton.evaluate.task_reports import TaskReports
from baton.lifecycle.promotion.verdicts import Check


def better(found: Mapping[str, Any], rows: int, rules: params.Promotion, task: TaskReports) -> Check:
    """Apply the rule between challenger and champion to `TaskReports.paired` on a table of `rows`."""
    difference, (low, high) = (
        found[f"{rules.metric}_difference"],
        found[f"{rules.metric}_difference_interval"],
    )
    bounds = f"{100 * rules.bootstrap.confidence:.0f}% interval {100 * low:+.1f} to {100 * high:+.1f}"
    pairs = task.in_words(found, "the challenger", "the champion")
    text = f"{100 * difference:+.1f} points of {rules.metric} ({bounds}; {pairs})"
    least = -rules.rule.margin if isinstance(rules.rule, params.NonInferiority) else rules.rule.minimum
    agrees, wanted = _agrees(found, rules, task)
    passed = bool(low > least and agrees)
    if not passed and least >= 0 and low <= 0 <= high:
        text = f"{_untold(found, task.main)}: {text}"
    text = f"{text}; the interval must lie above {100 * least:+.1f} points{wanted}"
    if low <= least:
        needed = _rows_needed(rules, (difference, low, least), found["discordant"], rows)
        text = f"{text}; {_small(rows, needed)}"
    return Check(rules.rule.kind.replace("non_", "non-"), passed, text)


def _agrees(found: Mapping[str, Any], rules: params.Promotion, task: TaskReports) -> tuple[bool, str]:
    """Return whether the task's test agrees with the interval, and what is required of it.

    The test is about the task's main figure, such as accuracy. It confirms a gain in that figure. It cannot
    confirm a gain in another metric, but must not show a loss of the main figure.
    """
    level, p, rises = 1 - rules.bootstrap.confidence, found[task.p], found[f"{task.main}_difference"] > 0
    if rules.metric != task.main:
        return p >= level or rises, f", and {task.main} must not fall significantly (p below {level:.2g})"
    if isinstance(rules.rule, params.NonInferiority):
        return True, ""
    return p < level and rises, f", and p must be below {level:.2g}"


def first(figures: Mapping[str, Any], rows: int, rules: params.Promotion) -> Check:
    """Apply the rule for a challenger without a champion."""
    value, low = figures[rules.metric], figures[f"{rules.metric}_interval"][0]
    wanted = (
        f"the lower end of a first champion's {rules.metric} interval must be at least "
        f"{100 * rules.first_minimum:.1f}%"
    )
    text = f"there is no champion; {wanted} and is {100 * low:.1f}%"
    if low >= rules.first_minimum:
        return Check("first champion", True, text)
    needed = proportions.rows_needed_alone(rules.first_minimum, rules.bootstrap.confidence, value)
    if rules.metric != "accuracy":
        needed = by_root(rows, value, low, rules.first_minimum)
    return Check("first champion", False, f"{text}; {_small(rows, needed)}")


def _untold(found: Mapping[str, Any], main: str) -> str:
    beyond = 100 * max(abs(bound) for bound in found[f"{main}_difference_interval"])
    return (
        f"it is not distinguishable from the champion (differences of more than {beyond:.1f} points of "
        f"{main} are excluded)"
    )


def _rows_needed(
    rules: params.Promotion, interval: tuple[float, float, float], pair: Sequence[int], rows: int
) -> int | None:
    (difference, low, least), (only_new, only_old) = interval, pair
    if rules.metric != "accuracy":
        return by_root(rows, difference, low, least)
    return proportions.rows_needed(-least, rules.bootstrap.confidence, only_new, only_old, rows)


def by_root(rows: int, value: float, low: float, least: float) -> int | None:
    """Estimate how many rows are enough: an interval's width falls with the square root of the rows."""
    return max(math.ceil(rows * ((value - low) / (value - least)) ** 2), rows + 1) if value > least else None


def _small(rows: int, needed: int | None) -> str:
    if needed is None:
        return "more similar rows would not help"
    return f"{rows:,} rows are too few to decide: about {needed:,} similar rows would be enough"
