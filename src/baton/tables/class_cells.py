"""What a cell of the label column means if each row has one class; see `target_cells.TargetCells`."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from baton.contracts.task_spec import Classes
from baton.tables import label_checks, label_drift, labels, row_sets
from baton.tables.checks import Check
from baton.tables.row_sets import Rows
from baton.tables.rows import Cell, RawTable, one_name


@dataclass(frozen=True)
class ClassCells:
    """A cell is the name of a class, which is the row's label."""

    word: ClassVar[str] = "class"
    words: ClassVar[str] = "classes"
    small_policies: ClassVar[str] = "drop, train_only or {other: NAME}"
    found: ClassVar[str] = "told apart"
    names_leave: ClassVar[bool] = False
    contexts: ClassVar[bool] = False
    joined: ClassVar[None] = None

    def read(self, value: Any) -> Cell | str:
        """Return the class of a cell, or the fault; an empty cell is a missing label."""
        return one_name(value)

    def names(self, label: str) -> tuple[str, ...]:
        """Return the class; none if the label is missing."""
        return (label,) if label else ()

    def renamed(self, label: str, new: Callable[[str], str | None]) -> str:
        """Return the class under its new name."""
        return new(label) or ""

    def checks(self) -> dict[str, Check]:
        """Return the checks of labels: missing ones, and those that look alike, measured or contradictory."""
        return {
            "missing_label": label_checks.missing_label,
            "similar_labels": partial(label_checks.similar_labels, names=self.names),
            "continuous_labels": partial(
                label_checks.continuous_labels, names=self.names, needed="a classifier needs classes"
            ),
            "conflict": partial(label_checks.conflict, shown=str),
        }

    def strata(self, rows: Rows) -> Iterable[str]:
        """Return the class of each row."""
        return (row.label for row in row_sets.brief(rows))

    def drift(self, rows: Rows) -> dict[str, Any] | None:
        """Compare the classes of train and test, see `label_drift.of_classes`."""
        return label_drift.of_classes(*label_checks.shares(rows, self.names))

    def too_few(self, train: Iterable[str]) -> str:
        """Return why the labels of train do not suffice; '' if there are two classes."""
        counts = Counter(train)
        if len(counts) >= 2:
            return ""
        left = ", ".join(f"{count} rows of {label!r}" for label, count in counts.items()) or "no rows"
        return f"single class: train has {left} after the checks; a classifier needs at least 2 labels"

    def small_advice(self, left: int, listed: str) -> str:
        """Return what to do about small classes: `left` classes are in train, `listed` are the small ones."""
        if left < 2:
            advice = "no small_class policy helps if (nearly) all classes are small: "
            advice += "add rows, or name files for val and test in source"
        else:
            advice = "small_class may be train_only (the class stays in train) or {other: NAME} "
            advice += "(merges such classes)"
        return f"{advice}; the small classes: {listed}"

    def notes(self, table: RawTable, known: Mapping[str, str]) -> list[str]:
        """Return notes on the labels of a raw file; `known` is `preprocess.label_names`."""
        lists = labels.listed(row.label for row in row_sets.brief(table.rows)) - set(known)
        if not lists:
            return []
        start = f"{table.path}: labels such as {min(lists)!r} look like lists; "
        return [start + "each different one is a class of its own"]

    def summary(self, parts: Mapping[str, Rows]) -> dict[str, Any]:  # noqa: ARG002
        """Return nothing more than the numbers of names."""
        return {}

    def spec(self, names: list[str], train: Iterable[str] = ()) -> Classes:  # noqa: ARG002
        """Return the task with these names of classes, in the order of a model's outputs."""
        return Classes(tuple(names))

    def type(self) -> Any:
        """Return the Arrow type of the clean column: int32."""
        import pyarrow as pa

        return pa.int32()

    def target(self, label: str, places: Mapping[str, int]) -> int:
        """Return the index of the class."""
        return places[label]
