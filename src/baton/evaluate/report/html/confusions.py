"""Which classes are taken for which: a whole matrix of a few, of many the worst ones and the top pairs.

Input: rows of tables/confusion.csv of one model -> a `Matrix`, and the pairs with the most rows.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from baton.evaluate.report.html.csv_reading import Row

MOST = 25  # classes of a matrix in which all are shown
PART = 16  # the classes with the most mistakes, if there are more
TOP = 30  # pairs
LEVELS = 5  # of colour
REST = "all others"


@dataclass(frozen=True)
class Cell:
    """Rows of one class that got another, or the same."""

    count: int
    right: bool
    level: int  # of its colour: 0 is none, LEVELS the strongest
    slug: str  # where its texts are; empty if nowhere


@dataclass(frozen=True)
class Matrix:
    """Rows are actual classes, columns are predicted ones."""

    names: Sequence[str]
    rows: Sequence[tuple[str, int, Sequence[Cell]]]  # name, its test rows, cells in the order of `names`
    classes: int  # of the task; more than are shown if it has many

    @property
    def part(self) -> bool:
        """Whether only the classes with the most mistakes are shown."""
        return self.classes > MOST


def counted(rows: Sequence[Row], model: str) -> Counter[tuple[str, str]]:
    """Return (actual, predicted) -> rows, or words, of one model."""
    unit = "rows" if rows and "rows" in rows[0] else "words"
    return Counter(
        {(row["actual"], row["predicted"]): int(row[unit]) for row in rows if row["model"] == model}
    )


def top(counts: Mapping[tuple[str, str], int]) -> list[tuple[str, str, int]]:
    """Return the most frequent confusions."""
    wrong = ((*pair, count) for pair, count in counts.items() if pair[0] != pair[1])
    return sorted(wrong, key=lambda item: (-item[2], item[0], item[1]))[:TOP]


def matrix(
    names: Sequence[str], counts: Mapping[tuple[str, str], int], slugs: Mapping[tuple[str, str], str]
) -> Matrix:
    """Return a matrix that a page has room for.

    Args:
        names: of all classes, in the task's order.
        counts: (actual, predicted) -> rows.
        slugs: (actual, predicted) -> where texts of this confusion are.
    """
    shown = list(names) if len(names) <= MOST else _worst(names, counts)
    if len(names) > MOST:
        known = set(shown)
        counts = _merged(counts, known)
        shown.append(REST)
    totals: Counter[str] = Counter()
    for (actual, _), count in counts.items():
        totals[actual] += count
    rows = [
        (one, totals[one], [_cell(one, other, counts, totals[one], slugs) for other in shown])
        for one in shown
        if one != REST
    ]
    return Matrix(shown, rows, len(names))


def _worst(names: Sequence[str], counts: Mapping[tuple[str, str], int]) -> list[str]:
    """Return the classes with the most mistakes, either way, in the task's order."""
    wrong: Counter[str] = Counter()
    for (actual, predicted), count in counts.items():
        if actual != predicted:
            wrong.update({actual: count, predicted: count})
    chosen = {name for name, _ in sorted(wrong.items(), key=lambda item: (-item[1], item[0]))[:PART]}
    return [name for name in names if name in chosen]


def _merged(counts: Mapping[tuple[str, str], int], known: set[str]) -> Counter[tuple[str, str]]:
    found: Counter[tuple[str, str]] = Counter()
    for (actual, predicted), count in counts.items():
        if actual in known:
            found[actual, predicted if predicted in known else REST] += count
    return found


def _cell(
    actual: str,
    predicted: str,
    counts: Mapping[tuple[str, str], int],
    total: int,
    slugs: Mapping[tuple[str, str], str],
) -> Cell:
    count = counts.get((actual, predicted), 0)
    share = count / total if total else 0.0
    # A hundredth of a class already has a colour; half of it has the strongest.
    level = (
        0
        if not count
        else next((k for k, most in enumerate((0.02, 0.05, 0.15, 0.4), 1) if share < most), LEVELS)
    )
    return Cell(count, actual == predicted, level, slugs.get((actual, predicted), ""))
