"""What a cell of the label column means if a row has any number of labels; see `target_cells.TargetCells`."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, ClassVar

from baton.contracts.task_spec import Labels
from baton.tables import label_checks, labels, name_sets, row_sets
from baton.tables.checks import Check
from baton.tables.row_sets import Rows
from baton.tables.rows import Cell, RawTable, is_null, plain

SHOWN = 60  # characters of a cell in a message


@dataclass(frozen=True)
class LabelCells:
    """A cell is a list of labels, or text in which `separator` stands between them; it may be empty.

    `Row.label` is the JSON list of a row's labels, each once, in the order of `labels.order`; '' if the cell
    is null: it is then unknown which labels the row has.
    """

    separator: str | None

    word: ClassVar[str] = "label"
    words: ClassVar[str] = "labels"
    small_policies: ClassVar[str] = "drop"
    found: ClassVar[str] = "predicted"
    names_leave: ClassVar[bool] = True
    contexts: ClassVar[bool] = False
    joined: ClassVar[None] = None

    def read(self, value: Any) -> Cell | str:
        """Return the labels of a cell, or the fault; nothing between two separators is not a label."""
        if is_null(value):
            return Cell("")
        items = self._items(value)
        if isinstance(items, str):
            return f"label {items}"
        pairs = [(item, labels.normal(item)) for item in items]
        respelled = tuple((item, kept) for item, kept in pairs if kept and kept != item)
        return Cell(_joined(kept for _, kept in pairs if kept), respelled)

    def _items(self, value: Any) -> list[str] | str:
        if isinstance(value, list):
            return self._of_list(value) if self.separator is None else self._other("is a list")
        if (words := plain(value)) is None or (self.separator is None and not isinstance(value, str | bytes)):
            return f"is a {type(value).__name__}; names of labels are needed"
        if not labels.visible(words):
            return []
        listed = _list(words)
        if self.separator is None:
            if listed is not None:
                return self._of_list(listed)
            return self._other(f"{words[:SHOWN]!r} is not a JSON list")
        if listed is not None:
            return self._other(f"{words[:SHOWN]!r} is a JSON list")
        return words.split(self.separator.strip() or self.separator)

    def _of_list(self, value: list[Any]) -> list[str] | str:
        items: list[str] = []
        for item in value:
            if is_null(item) or (words := plain(item)) is None:
                wrong = "null" if is_null(item) else f"a {type(item).__name__}"
                return f"has {wrong} in its list; names of labels are needed"
            items.append(words)
        return items

    def _other(self, fault: str) -> str:
        if self.separator is None:
            return f'{fault}, such as ["a", "b"]; set task.separator if one stands between names'
        return f"{fault}, but task.separator is {self.separator!r}; set it to null to read lists"

    def names(self, label: str) -> tuple[str, ...]:
        """Return the labels of a row."""
        return _names(label)

    def renamed(self, label: str, new: Callable[[str], str | None]) -> str:
        """Return the labels under their new names; those that become None are left out."""
        return label and _joined(kept for name in self.names(label) if (kept := new(name)))

    def checks(self) -> dict[str, Check]:
        """Return the checks of labels that are null, look alike, look measured or contradict each other."""
        return {
            "missing_label": label_checks.missing_label,
            "similar_labels": partial(label_checks.similar_labels, names=self.names),
            "continuous_labels": partial(
                label_checks.continuous_labels, names=self.names, needed="a label is a name"
            ),
            "conflict": partial(label_checks.conflict, shown=self._shown),
        }

    def _shown(self, label: str) -> str:
        return ", ".join(self.names(label)) or "no label"

    def strata(self, rows: Rows) -> Iterable[str]:
        """Return of each row the label that is rarest up to there; '' for rows without labels."""
        return name_sets.strata(rows, self.names)

    def drift(self, rows: Rows) -> dict[str, Any] | None:
        """Compare the shares of rows with each label, see `name_sets.drift`."""
        return name_sets.drift(rows, self.names)

    def too_few(self, train: Iterable[str]) -> str:
        """Return that no row of train has a label, if so."""
        if any(self.names(label) for label in train):
            return ""
        return "no labels: no row of train has a label after the checks; at least one label is needed"

    def small_advice(self, left: int, listed: str) -> str:
        """Return what to do about rare labels; `listed` are all labels of the rows found."""
        advice = "small_class may be drop (takes such labels out of their rows, which stay) or keep"
        return f"{advice}; {left} labels are in train; the labels of the rows found: {listed}"

    def notes(self, table: RawTable, known: Mapping[str, str]) -> list[str]:
        """Return notes if no row has several labels, or if names seem to be parts of a list."""
        if self.separator is None:
            return []
        notes = []
        if not any(len(self.names(row.label)) > 1 for row in row_sets.brief(table.rows)):
            start = f"{table.path}: no row has more than one label; "
            notes = [start + f"check that task.separator, {self.separator!r}, is the one between names"]
        every = {*label_checks.every(table.rows, self.names)} - set(known)
        if parts := [name for name in every if name.startswith("[") or name.endswith("]")]:
            start = f"{table.path}: labels such as {min(parts)!r} look like parts of lists; "
            notes.append(
                start + f"write the names of a row with {self.separator!r} between them, no brackets"
            )
        return notes

    def summary(self, parts: Mapping[str, Rows]) -> dict[str, Any]:  # noqa: ARG002
        """Return nothing more than the numbers of names."""
        return {}

    def spec(self, names: list[str], train: Iterable[str] = ()) -> Labels:  # noqa: ARG002
        """Return the task with these labels, in the order of a model's outputs."""
        return Labels(tuple(names))

    def type(self) -> Any:
        """Return the Arrow type of the clean column: a list of int32."""
        import pyarrow as pa

        return pa.list_(pa.int32())

    def target(self, label: str, places: Mapping[str, int]) -> list[int]:
        """Return the indexes of the labels, ascending."""
        return sorted(places[name] for name in self.names(label))


def _joined(names: Iterable[str]) -> str:
    return json.dumps(sorted(set(names), key=labels.order), ensure_ascii=False)


@lru_cache(maxsize=65_536)
def _names(label: str) -> tuple[str, ...]:
    return tuple(json.loads(label)) if label else ()


def _list(words: str) -> list[Any] | None:
    """Return the JSON list that a text is, or None."""
    if not words.strip().startswith("["):
        return None
    try:
        value = json.loads(words)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, list) else None
