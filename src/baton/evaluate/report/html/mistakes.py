"""A model's mistakes, of every kind of task that has names: classes, labels, types of entities.

Input: rows of tables/errors.csv -> `Mistake`s, in the order of the table: the most confident first.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from baton.evaluate.report.html.csv_reading import Row, number

NOTHING = ""  # in place of a name: nothing is there, or nothing was predicted


@dataclass(frozen=True)
class Mistake:
    """One wrong answer."""

    id: str
    actual: tuple[str, ...]  # what the model missed, one name at most except with several labels
    predicted: tuple[str, ...]  # what it said instead
    sure: float  # NaN if it said nothing
    text: str  # or the name of the image

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """The confusions: (actual, predicted), `NOTHING` on the side that is missing."""
        return [(a, p) for a in self.actual or (NOTHING,) for p in self.predicted or (NOTHING,)]


def read(kind: str, rows: Sequence[Row], model: str, shown: str) -> list[Mistake]:
    """Return a model's mistakes from rows of errors.csv; none of a kind of task without names.

    Args:
        kind: of the task.
        rows: of every model.
        model: whose mistakes to return.
        shown: the column of the text or of the image's name.
    """
    readers: dict[str, Callable[[Row, str], Mistake]] = {
        "classes": _of_class,
        "labels": _of_labels,
        "tokens": _of_entity,
    }
    if kind not in readers:
        return []
    return [readers[kind](row, shown) for row in rows if row["model"] == model]


def _of_class(row: Row, shown: str) -> Mistake:
    sure = number(row["probability"])
    return Mistake(row["id"], (row["actual"],), (row["predicted"],), sure, row[shown])


def _of_labels(row: Row, shown: str) -> Mistake:
    missing, superfluous = (tuple(json.loads(row[name])) for name in ("missing", "superfluous"))
    return Mistake(row["id"], missing, superfluous, number(row["probability"]), row[shown])


def _of_entity(row: Row, shown: str) -> Mistake:
    actual, predicted = ((row[name],) if row[name] else () for name in ("actual", "predicted"))
    return Mistake(row["id"], actual, predicted, number(row["score"]), row[shown])
