"""Whether a challenger is better than the champion, or not worse by more than a margin, or good enough to be the first one.

What counts is the lower end of an interval (`evaluate.significance`): of a share Wilson's, of a difference on the same rows Tango's, which
do not collapse where a table shows no mistake, as a bootstrap does; of macro F1 the wider of the bootstrap's and one made of those. A table
that is too small to decide is refused, with the number of rows that would do.
"""

import math
from collections.abc import Mapping
from typing import Any

from baton import params
from baton.evaluate import proportions
from baton.lifecycle.promotion.verdicts import Check


def better(found: Mapping[str, Any], rows: int, rules: params.Promotion) -> Check:
    """The rule between challenger and champion, from `compare.paired` on a table of `rows`."""
    difference, (low, high) = (
        found[f"{rules.metric}_difference"],
        found[f"{rules.metric}_difference_interval"],
    )
    p, (only_new, only_old) = found["mcnemar_p"], found["discordant"]
    bounds = f"{100 * rules.bootstrap.confidence:.0f}% interval {100 * low:+.1f} to {100 * high:+.1f}"
    pairs = f"only the challenger is right on {only_new} rows, only the champion on {only_old}, McNemar's mid-p = {p:.2g}"
    text = f"{100 * difference:+.1f} points of {rules.metric} ({bounds}; {pairs})"
    least = -rules.rule.margin if isinstance(rules.rule, params.NonInferiority) else rules.rule.minimum
    agrees, wanted = _agrees(p, only_new - only_old, rules)
    passed = bool(low > least and agrees)
    if not passed and least >= 0 and low <= 0 <= high:
        text = f"{_untold(only_new, only_old, rows, rules)}: {text}"
    text = f"{text}; the interval must lie above {100 * least:+.1f} points{wanted}"
    if low <= least:
        needed = _rows_needed(rules, (difference, low, least), (only_new, only_old, rows))
        text = f"{text}; {_small(rows, needed)}"
    return Check(rules.rule.kind.replace("non_", "non-"), passed, text)


def _agrees(p: float, more: int, rules: params.Promotion) -> tuple[bool, str]:
    """Whether McNemar's test, which is about accuracy, bears the interval out, and what is asked of it.

    It confirms a gain in accuracy. It cannot confirm another metric's, but must not show that accuracy is lost.
    """
    level = 1 - rules.bootstrap.confidence
    if rules.metric != "accuracy":
        return p >= level or more > 0, f", and accuracy must not be lost (p below {level:.2g})"
    if isinstance(rules.rule, params.NonInferiority):
        return True, ""
    return p < level and more > 0, f", and p be below {level:.2g}"


def first(figures: Mapping[str, Any], rows: int, rules: params.Promotion) -> Check:
    """The rule for one without a champion."""
    value, low = figures[rules.metric], figures[f"{rules.metric}_interval"][0]
    wanted = f"the lower end of a first one's {rules.metric} interval must be at least {100 * rules.first_minimum:.1f}%"
    text = f"there is no champion; {wanted} and is {100 * low:.1f}%"
    if low >= rules.first_minimum:
        return Check("first champion", True, text)
    needed = proportions.rows_needed_alone(rules.first_minimum, rules.bootstrap.confidence, value)
    if rules.metric != "accuracy":
        needed = by_root(rows, value, low, rules.first_minimum)
    return Check("first champion", False, f"{text}; {_small(rows, needed)}")


def _untold(only_new: int, only_old: int, rows: int, rules: params.Promotion) -> str:
    beyond = 100 * proportions.excluded(only_new, only_old, rows, rules.bootstrap.confidence)
    return f"it cannot be told from the champion (more than {beyond:.1f} points of accuracy either way are excluded)"


def _rows_needed(
    rules: params.Promotion, interval: tuple[float, float, float], counts: tuple[int, int, int]
) -> int | None:
    (difference, low, least), (only_new, only_old, rows) = interval, counts
    if rules.metric != "accuracy":
        return by_root(rows, difference, low, least)
    return proportions.rows_needed(-least, rules.bootstrap.confidence, only_new, only_old, rows)


def by_root(rows: int, value: float, low: float, least: float) -> int | None:
    """An interval's width falls with the root of the rows; these are too few."""
    return max(math.ceil(rows * ((value - low) / (value - least)) ** 2), rows + 1) if value > least else None


def _small(rows: int, needed: int | None) -> str:
    if needed is None:
        return "more rows like these would not help"
    return f"{rows:,} rows are too few to decide: about {needed:,} like these would do"
