"""Which strategy to use for a number of labels, and from where on one is ahead of another, in words.

Input: a comparison -> a choice for each number of labels, and sentences.

The strategy or baseline with the best mean is taken, or the cheapest in seconds of those that cannot be told
from it: whose interval of the paired difference holds 0. If the best beats every baseline, what is
recommended does so too.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from baton.compare.comparison import Comparison, Difference, Labels


@dataclass(frozen=True)
class Choice:
    """What is recommended for one number of labels."""

    labels: Labels
    name: str  # a strategy or a baseline
    equal: tuple[str, ...]  # what cannot be told from the best mean, which is the first of these
    strategy: str | None  # the best strategy
    baseline: str | None  # the best baseline

    @property
    def best(self) -> str:
        """The one with the best mean."""
        return self.equal[0]


def choose(found: Comparison, labels: Labels) -> Choice | None:
    """Return what to use among strategies and baselines; None if there is no trial."""
    names = [*found.candidates, *found.baselines]
    best = found.best(names, labels)
    if best is None:
        return None
    strategy, baseline = found.best(found.candidates, labels), found.best(found.baselines, labels)
    equal = [best, *(name for name in names if name != best and found.sign(best, name, labels) == 0)]
    fit = equal
    if baseline is not None and found.sign(best, baseline, labels) > 0:
        fit = [name for name in equal if found.sign(name, baseline, labels) > 0]
    return Choice(labels, _cheapest(found, fit, labels), tuple(equal), strategy, baseline)


def sentences(found: Comparison) -> list[str]:
    """Return the recommendation for each number of labels."""
    choices = [choose(found, labels) for labels in found.labels]
    return [
        " ".join(filter(None, (_used(found, own), _beaten(found, own)))) for own in choices if own is not None
    ]


def overtaking(found: Comparison, first: str, second: str) -> str:
    """Return from which number of labels on `first` is ahead of `second`; empty if one has no trial."""
    compared = [(labels, own) for labels in found.labels if (own := found.difference(first, second, labels))]
    if not compared:
        return ""
    ahead = [own.sign > 0 for _, own in compared]
    start = next((place for place in range(len(ahead)) if all(ahead[place:])), None)
    if start == 0:
        said = f"{first} is ahead of {second} at every number of labels"
    elif start is not None:
        said = f"{first} overtakes {second} at {at(found, compared[start][0])}"
    elif any(ahead):
        said = f"{first} is ahead of {second} at some numbers of labels, but not at the largest"
    else:
        said = f"{first} is not ahead of {second} beyond noise at any number of labels"
    return f"{said} ({_each(found, compared)})."


def against(found: Comparison, first: str, second: str) -> str:
    """Return by how much `first` is better than `second`; empty if one has no trial."""
    compared = [(labels, own) for labels in found.labels if (own := found.difference(first, second, labels))]
    return f"{first} against {second}: {_each(found, compared)}." if compared else ""


def at(found: Comparison, labels: Labels) -> str:
    """Return a number of labels in words."""
    return f"all {found.unit.split()[0]}" if labels is None else f"{labels} {found.unit}"


def shown(found: Comparison, own: Difference) -> str:
    """Return a difference in words, with its interval."""
    size = f"{found.figure.number(own.mean, sign='+')}{found.figure.points}"
    if own.low is None or own.high is None:
        return f"{size}, interval unknown"
    low, high = (found.figure.number(end, sign="+") for end in (own.low, own.high))
    return f"{size}, interval {low} to {high}"


def _each(found: Comparison, compared: Sequence[tuple[Labels, Difference]]) -> str:
    return "; ".join(f"{at(found, labels)} {shown(found, own)}" for labels, own in compared)


def _cheapest(found: Comparison, names: Sequence[str], labels: Labels) -> str:
    """Return the one with the fewest seconds, of equals and if those of the first are unknown the first."""
    known = {name: own.costs.seconds for name in names if (own := found.cell(name, labels))}
    timed = {name: seconds for name, seconds in known.items() if seconds is not None}
    return min(timed, key=lambda name: timed[name]) if names[0] in timed else names[0]


def _used(found: Comparison, own: Choice) -> str:
    """Say what to use, and why."""
    place = at(found, own.labels)
    use = f"{place[:1].upper()}{place[1:]}: use {own.name} ({_value(found, own.name, own.labels)}), "
    if own.name != own.best:
        best = f"{own.best} ({_value(found, own.best, own.labels)})"
        return f"{use}which took the least time of those that cannot be told from the best, {best}."
    if len(own.equal) == 1:
        return f"{use}which is ahead of all others beyond noise."
    return f"{use}the best, though {', '.join(own.equal[1:])} cannot be told from it."


def _beaten(found: Comparison, own: Choice) -> str:
    """Say whether the best baseline is beaten, and by how much."""
    if own.baseline is None or own.strategy is None:
        return ""
    kind = "TF-IDF" if own.baseline.startswith("tfidf") else "The baseline"
    base = f"{own.baseline} ({_value(found, own.baseline, own.labels)})"
    strategy = own.strategy if own.name in found.baselines else own.name
    ahead = found.difference(strategy, own.baseline, own.labels)
    if ahead is None:
        return ""
    if ahead.sign > 0:
        return f"It beats the best baseline, {base}: {shown(found, ahead)}."
    named = f"{strategy} ({_value(found, strategy, own.labels)})" if strategy != own.name else strategy
    how = "worse than" if ahead.sign < 0 else "not better beyond noise than"
    which = "the best strategy" if strategy == own.strategy else "it"
    return f"{kind} is not beaten: {which}, {named}, is {how} {base}: {shown(found, ahead)}."


def _value(found: Comparison, name: str, labels: Labels) -> str:
    own = found.cell(name, labels)
    assert own is not None, "it has trials"
    return found.figure.value(own.figures[found.figure.name])
