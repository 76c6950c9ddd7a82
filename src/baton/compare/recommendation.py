"""Which strategy to use for a number of labels, and from where on one is ahead of another, in words.

Input: a comparison -> a choice for each number of labels, and sentences.

If strategies beat the best baseline, it is one of these, else any strategy or baseline. Of them that with the
best mean is taken, or the cheapest in seconds of those that cannot be told from it (whose interval of the
paired difference holds 0) and are not behind one another. Only what has trials with all seeds takes part,
since means over different draws cannot be compared.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from baton.compare.comparison import Comparison, Difference, Labels


@dataclass(frozen=True)
class Choice:
    """What is recommended for one number of labels."""

    labels: Labels
    name: str  # a strategy or a baseline
    equal: tuple[str, ...]  # those of what may be recommended that cannot be told from the first, the best
    others: tuple[str, ...]  # strategies that cannot be told from it either, but not from a baseline
    strategy: str | None  # the best strategy
    baseline: str | None  # the best baseline
    unsure: str | None  # a strategy with a better mean, which cannot be told from the best baseline
    fewer: tuple[str, ...]  # those with fewer seeds, which take no part

    @property
    def best(self) -> str:
        """The one with the best mean."""
        return self.equal[0]


def choose(found: Comparison, labels: Labels) -> Choice | None:
    """Return what to use among strategies and baselines; None if there is no trial."""
    there = {
        name: set(own.seeds)
        for name in (*found.candidates, *found.baselines)
        if (own := found.cell(name, labels)) is not None
    }
    if not there:
        return None
    all_seeds = max(there.values(), key=len)
    names = [name for name, own in there.items() if own >= all_seeds]
    strategies = [name for name in names if name in found.candidates]
    strategy = found.best(strategies, labels)
    baseline = found.best([name for name in names if name in found.baselines], labels)
    ahead = [name for name in strategies if baseline and found.sign(name, baseline, labels) > 0]
    best = found.best(ahead or names, labels)
    assert best is not None, "one has trials"
    equal = [best]
    equal += [name for name in ahead or names if name != best and found.sign(best, name, labels) == 0]
    fit = [name for name in equal if not any(found.sign(other, name, labels) > 0 for other in equal)]
    unsure = strategy if ahead and strategy not in ahead else None
    others = tuple(
        name for name in strategies if ahead and name not in ahead and found.sign(best, name, labels) == 0
    )
    fewer = tuple(name for name in there if name not in names)
    use = _cheapest(found, fit, labels)
    return Choice(labels, use, tuple(equal), others, strategy, baseline, unsure, fewer)


def sentences(found: Comparison) -> list[str]:
    """Return the recommendation for each number of labels."""
    choices = [choose(found, labels) for labels in found.labels]
    return [
        " ".join(filter(None, (_used(found, own), _beaten(found, own), _beside(found, own))))
        for own in choices
        if own is not None
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
    if len(own.equal) == 1 and not own.others:
        return f"{use}which is ahead of all others beyond noise."
    if len(own.equal) == 1:
        return f"{use}the only one that beats the best baseline beyond noise."
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


def _beside(found: Comparison, own: Choice) -> str:
    """Say what is left out although its mean is better, or unknown with some seeds."""
    said = ""
    if own.unsure is not None and own.baseline is not None:
        name = f"{own.unsure} ({_value(found, own.unsure, own.labels)})"
        ahead = found.difference(own.unsure, own.baseline, own.labels)
        assert ahead is not None, "both have all seeds"
        said = f"{name} has a better mean, but varies so much that it cannot be told from {own.baseline}: "
        said += f"{shown(found, ahead)}."
    if own.fewer:
        seeds = f"{', '.join(own.fewer)}: fewer seeds than the others, so not recommended."
        said = f"{said} {seeds}" if said else seeds
    return said


def _value(found: Comparison, name: str, labels: Labels) -> str:
    own = found.cell(name, labels)
    assert own is not None, "it has trials"
    return found.figure.value(own.figures[found.figure.name])
