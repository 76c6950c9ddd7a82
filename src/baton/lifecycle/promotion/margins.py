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
from baton.tasks import figure_scale


def better(found: Mapping[str, Any], rows: int, rules: params.Promotion, task: TaskReports) -> Check:
    """Apply the rule between challenger and champion to `TaskReports.paired` on a table of `rows`."""
    metric = figure_scale.of(task.figures, rules.metric)
    difference, interval = found[f"{metric.name}_difference"], found[f"{metric.name}_difference_interval"]
    low, high = (metric.number(end, sign="+") for end in interval)
    bounds = f"{100 * rules.bootstrap.confidence:.0f}% interval {low} to {high}"
    pairs = task.in_words(found, "the challenger", "the champion")
    text = f"{metric.number(difference, sign='+')}{metric.points} of {metric.name} ({bounds}; {pairs})"
    least = -rules.rule.margin if isinstance(rules.rule, params.NonInferiority) else rules.rule.minimum
    agrees, wanted = _agrees(found, rules, task)
    worst = metric.worst(interval)
    passed = bool(worst > least and agrees)
    if not passed and least >= 0 and interval[0] <= 0 <= interval[1]:
        text = f"{_untold(found, task)}: {text}"
    side, bound = "above" if metric.direction > 0 else "below", metric.number(metric.gain(least), sign="+")
    text = f"{text}; the interval must lie {side} {bound}{metric.points}{wanted}"
    if worst <= least:
        gained = (metric.gain(difference), worst, least)
        text = f"{text}; {_small(rows, _rows_needed(rules, task, gained, found['discordant'], rows))}"
    return Check(rules.rule.kind.replace("non_", "non-"), passed, text)


def _agrees(found: Mapping[str, Any], rules: params.Promotion, task: TaskReports) -> tuple[bool, str]:
    """Return whether the task's test agrees with the interval, and what is required of it.

    A test of the metric, if the task has one, must confirm a gain. That of the task's main figure, such as
    accuracy, cannot confirm a gain in another metric, but must not show a loss of the main figure.
    """
    level, main = 1 - rules.bootstrap.confidence, figure_scale.of(task.figures)
    metric = figure_scale.of(task.figures, rules.metric)
    keeps, wanted = True, ""
    if metric.name != main.name:
        change = "fall" if main.direction > 0 else "rise"
        keeps = found[task.p] >= level or main.gain(found[f"{main.name}_difference"]) > 0
        wanted = f", and {main.name} must not {change} significantly (p below {level:.2g})"
    p = found[task.p] if metric.name == main.name else found.get(f"{metric.name}_p")
    if p is None or isinstance(rules.rule, params.NonInferiority):
        return keeps, wanted
    named = "p" if metric.name == main.name else f"p of {metric.name} ({p:.2g})"
    gains = metric.gain(found[f"{metric.name}_difference"]) > 0
    return keeps and p < level and gains, f"{wanted}, and {named} must be below {level:.2g}"


def first(figures: Mapping[str, Any], rows: int, rules: params.Promotion, task: TaskReports) -> Check:
    """Apply the rule for a challenger without a champion."""
    metric, limit = figure_scale.of(task.figures, rules.metric), rules.first_minimum
    value, interval = metric.gain(figures[metric.name]), figures[f"{metric.name}_interval"]
    worst, least = metric.worst(interval), metric.gain(limit)
    end, must = ("lower", "at least") if metric.direction > 0 else ("upper", "at most")
    wanted = (
        f"the {end} end of a first champion's {metric.name} interval must be {must} {metric.value(limit)}"
    )
    text = f"there is no champion; {wanted} and is {metric.value(metric.gain(worst))}"
    if worst >= least:
        return Check("first champion", True, text)
    needed = (
        proportions.rows_needed_alone(limit, rules.bootstrap.confidence, value)
        if metric.name == task.counting
        else by_root(rows, value, worst, least)
    )
    return Check("first champion", False, f"{text}; {_small(rows, needed)}")


def _untold(found: Mapping[str, Any], task: TaskReports) -> str:
    main = figure_scale.of(task.figures)
    beyond = main.number(max(abs(bound) for bound in found[f"{main.name}_difference_interval"]))
    return (
        f"it is not distinguishable from the champion (differences of more than {beyond}{main.points} of "
        f"{main.name} are excluded)"
    )


def _rows_needed(
    rules: params.Promotion,
    task: TaskReports,
    gained: tuple[float, float, float],
    pair: Sequence[int],
    rows: int,
) -> int | None:
    """Return how many rows are enough for a gain, the worse end of its interval, and the least gain."""
    (gain, worst, least), (only_new, only_old) = gained, pair
    if rules.metric != task.counting:
        return by_root(rows, gain, worst, least)
    return proportions.rows_needed(-least, rules.bootstrap.confidence, only_new, only_old, rows)


def by_root(rows: int, value: float, low: float, least: float) -> int | None:
    """Estimate how many rows are enough: an interval's width falls with the square root of the rows."""
    return max(math.ceil(rows * ((value - low) / (value - least)) ** 2), rows + 1) if value > least else None


def _small(rows: int, needed: int | None) -> str:
    if needed is None:
        return "more similar rows would not help"
    return f"{rows:,} rows are too few to decide: about {needed:,} similar rows would be enough"
