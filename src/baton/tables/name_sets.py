"""Strata and drift of rows that have any number of names: labels, or types of entities."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from baton.tables import label_drift, labels, row_sets
from baton.tables.row_sets import Rows

Names = Callable[[str], tuple[str, ...]]  # see target_cells.TargetCells.names


def strata(rows: Rows, names_of: Names) -> Iterator[str]:
    """Yield of each row the name that is rarest up to there; '' for rows without names.

    Counting only what comes before keeps the stratum of a row when others are appended to the file. The
    first row of a name is the first of its stratum, or has another name whose first row it is too, so that
    it stays in train (`splits.cut_for_good`).
    """
    counts: Counter[str] = Counter()
    for row in row_sets.brief(rows):
        names = names_of(row.label)
        yield min(names, key=lambda name: (counts[name], labels.order(name)), default="")
        counts.update(names)


def drift(rows: Rows, names_of: Names) -> dict[str, Any] | None:
    """Compare the shares of train and test rows with each name, see `label_drift.of_label_sets`."""
    sets = (
        Counter(names_of(row.label) for row in row_sets.brief(rows) if row.part == part)
        for part in ("train", "test")
    )
    return label_drift.of_label_sets(*sets)
