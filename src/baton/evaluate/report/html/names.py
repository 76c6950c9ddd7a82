"""One block per class, label or type of entity: its figures, what it is confused with, and texts.

Inputs: rows of tables/per_class.csv (per_label, per_type) and a model's mistakes -> `Name`s, the worst first.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from baton.evaluate.report.html.csv_reading import Row, number
from baton.evaluate.report.html.mistakes import NOTHING, Mistake

TABLES = {"classes": "class", "labels": "label", "tokens": "type"}  # kind -> column of per_COLUMN.csv
MOST_PAIRS = 12  # of a name
MOST_TEXTS = 5  # of a pair
ALL_TEXTS = 800  # of a model; the names with the worst F1 come first


@dataclass(frozen=True)
class Figure:
    """A share with its interval; NaN if it is undefined."""

    value: float
    low: float
    high: float

    @property
    def defined(self) -> bool:
        """Whether there is a value."""
        return math.isfinite(self.value)


@dataclass(frozen=True)
class Pair:
    """A confusion: rows of the actual name that got the predicted one."""

    slug: str
    actual: str
    predicted: str
    count: int
    texts: Sequence[Mistake]  # the most confident ones; fewer than `count` if there are many


@dataclass(frozen=True)
class Taken:
    """How often another name was taken for this one, and where its texts are."""

    name: str
    count: int
    slug: str


@dataclass(frozen=True)
class Name:
    """A class, label or type of entity."""

    slug: str
    name: str
    support: int
    precision: Figure
    recall: Figure
    f1: Figure
    pairs: Sequence[Pair]  # what it was taken for
    taken: Sequence[Taken]  # what was taken for it

    @property
    def mistakes(self) -> int:
        """How many mistakes are listed under the name."""
        return sum(pair.count for pair in self.pairs)


def read(kind: str, rows: Sequence[Row], model: str, mistakes: Sequence[Mistake], prefix: str) -> list[Name]:
    """Return every name, the lowest F1 first; those without a test row come last.

    Args:
        kind: of the task.
        rows: of per_class.csv, of every model.
        model: whose figures to show.
        mistakes: of the model.
        prefix: of the slugs, so that those of two models differ.
    """
    column = TABLES[kind]
    own = [row for row in rows if row["model"] == model]
    slugs = {row[column]: f"{prefix}-{place}" for place, row in enumerate(own)}
    ordered = sorted(own, key=lambda row: (row["support"] == "0", _worth(row), row[column]))
    pairs = _pairs([row[column] for row in ordered], mistakes, slugs)
    taken = _taken(pairs)
    return [
        Name(
            slugs[row[column]],
            row[column],
            int(row["support"]),
            _figure(row, "precision"),
            _figure(row, "recall"),
            _figure(row, "f1"),
            pairs.get(row[column], []),
            taken.get(row[column], []),
        )
        for row in ordered
    ]


def _figure(row: Row, name: str) -> Figure:
    return Figure(*(number(row[f"{name}{end}"]) for end in ("", "_low", "_high")))


def _worth(row: Row) -> float:
    value = number(row["f1"])
    return value if math.isfinite(value) else math.inf


def _pairs(
    order: Iterable[str], mistakes: Sequence[Mistake], slugs: Mapping[str, str]
) -> dict[str, list[Pair]]:
    """Return name -> its confusions, the most frequent first, within the limits on texts."""
    counts: dict[str, Counter[tuple[str, str]]] = defaultdict(Counter)
    texts: dict[tuple[str, str, str], list[Mistake]] = defaultdict(list)
    for mistake in mistakes:
        for pair in mistake.pairs:
            owner = pair[0] or pair[1]
            counts[owner][pair] += 1
            texts[owner, *pair].append(mistake)
    found, room = dict[str, list[Pair]](), ALL_TEXTS
    for name in order:
        own = sorted(counts[name].items(), key=lambda item: (-item[1], item[0]))
        found[name] = []
        for place, (pair, count) in enumerate(own):
            some = texts[name, *pair][: min(MOST_TEXTS, room)] if place < MOST_PAIRS else []
            room -= len(some)
            found[name].append(Pair(f"{slugs[name]}-{place}", *pair, count, some))
    return found


def _taken(pairs: Mapping[str, Sequence[Pair]]) -> dict[str, list[Taken]]:
    """Return name -> the names that were taken for it, the most frequent first."""
    found: dict[str, list[Taken]] = defaultdict(list)
    for own in pairs.values():
        for pair in own:
            if NOTHING not in {pair.actual, pair.predicted}:
                found[pair.predicted].append(Taken(pair.actual, pair.count, pair.slug))
    return {name: sorted(own, key=lambda one: (-one.count, one.name)) for name, own in found.items()}
