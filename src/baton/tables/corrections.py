"""Give rows the labels that people corrected; see `contracts.corrections` for the file.

Input: the rows of the splits and the file. Output: the rows with their new labels, and what report.json says.
Checks and cuts went by the labels of the raw files, so a correction changes nothing but the label: no row
moves to another split, and none is dropped or comes back.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from baton.contracts.corrections import CONTENT, ID, LABEL, RAW, content
from baton.contracts.csv_cells import original
from baton.errors import DataError
from baton.tables import columns, labels, readers, row_sets, soft_label_rows
from baton.tables.columns import Columns
from baton.tables.row_sets import Rows
from baton.tables.rows import NO_EXTRAS, NO_PAIR, Extras, RawTable, Row, plain

SHOWN = 5
HINT = "correct these rows, or empty their labels"
WANTED = Columns(ID, LABEL, "")
Parts = Mapping[str, Rows]  # split -> its rows


class Correction(NamedTuple):
    """A row of the file."""

    label: str  # in its normal form; empty: nobody has decided
    content: str  # empty: unknown


@dataclasses.dataclass
class _Table(RawTable):
    """The rows of a file, by id."""

    read: dict[str, Correction] = dataclasses.field(default_factory=dict)

    @property
    def readable(self) -> int:
        return len(self.read)

    def add(self, text: Any, label: Any, extras: Extras | str = NO_EXTRAS, pair: Any = NO_PAIR) -> None:  # noqa: ARG002
        """Append a row: its id, and the cells of label and content."""
        cells = [plain(cell) for cell in (text, *label)]
        id_, name, digest = (labels.normal(cell or "") for cell in cells)
        own = Correction(name, digest)
        if not id_ or None in cells:
            self.reject("a cell is a list" if None in cells else "no id")
        elif (before := self.read.get(id_)) and own.label and before.label not in {own.label, ""}:
            self.reject(f"{id_} is {own.label!r} here and {before.label!r} in an earlier row")
        elif not before or own.label:
            self.read[id_] = own


def columns_of(path: Path) -> list[str]:
    """Return the names of a file's columns.

    Raises:
        DataError: The file is not a table.
    """
    return readers.column_names(path, soft_label_rows.form(path, "corrections"), WANTED)


def read(path: Path) -> dict[str, Correction]:
    """Return the rows of a file, by id; it may have none. Its name ends in .csv, .tsv, .jsonl or .parquet.

    Raises:
        DataError: The file is not a table, lacks a column, or has rows that cannot be read.
    """
    form, names = soft_label_rows.form(path, "corrections"), columns_of(path)
    for name in (ID, LABEL):
        if names.count(name) != 1:
            hint = "the first line of the file names its columns: id and label; others are not needed"
            raise columns.missing(path, name, names, WANTED, hint)
    wanted = (LABEL, CONTENT) if names.count(CONTENT) == 1 else (LABEL, LABEL)
    table = _Table(RAW, path)
    readers.fill(table, form, Columns(ID, wanted, ""), may_be_empty=True)
    if table.malformed:
        _refuse(path, {"rows that cannot be read": [f"{id_}: {why}" for id_, why in table.malformed.items()]})
    if CONTENT not in wanted:
        return {id_: own._replace(content="") for id_, own in table.read.items()}
    # A list that Baton began: a name may have an apostrophe, so that no spreadsheet takes it for a formula.
    return {id_: own._replace(label=original(own.label)) for id_, own in table.read.items()}


def apply(path: Path, parts: Parts, tables: Iterable[RawTable]) -> tuple[dict[str, Rows], dict[str, Any]]:
    """Return the rows of the splits with corrected labels, and the figures for report.json.

    Rows without a label in the file stay as they are, as do rows that no split has: checks dropped them, or
    params leave them out.

    Raises:
        DataError: The file cannot be read; it names an id that the raw files do not have, a row that is
            another one now, or a label that is no class; or no row of train is left for a class.
    """
    found = read(path)
    decided = {id_: own for id_, own in found.items() if own.label}
    classes = {row.label for part in parts.values() for row in row_sets.brief(part)}
    named = {split: row_sets.having(part, lambda row: row.id in decided) for split, part in parts.items()}
    rows = {row.id: row for part in named.values() for row in part}
    _refuse(path, _faults(decided, rows, classes, {table.split: table.count for table in tables}))
    new = {id_: own.label for id_, own in decided.items() if id_ in rows}
    changed = {
        split: {row.id: (row.label, new[row.id]) for row in part if new[row.id] != row.label}
        for split, part in named.items()
    }

    def corrected(row: Row) -> Row:
        return dataclasses.replace(row, label=new.get(row.id, row.label))

    made = {split: row_sets.changed(part, corrected) for split, part in parts.items()}
    _refuse_gaps(path, parts, made)
    figures = {
        "rows": len(found),
        "undecided": len(found) - len(decided),
        "not_in_use": len(decided) - len(new),
        "confirmed": len(new) - sum(map(len, changed.values())),
        "changed": {split: len(own) for split, own in changed.items()},
        "labels": {
            split: {id_: {"given": old, "label": label} for id_, (old, label) in own.items()}
            for split, own in changed.items()
        },
    }
    return made, figures


def notes(figures: Mapping[str, Any]) -> list[str]:
    """Return what the user is told of the `figures` of `apply`."""
    changed = figures["changed"]
    counts = ", ".join(f"{split} {count:,}" for split, count in changed.items())
    first = f"corrections: {sum(changed.values()):,} labels changed ({counts}), "
    first += f"{figures['confirmed']:,} confirmed, {figures['undecided']:,} undecided, "
    first += f"{figures['not_in_use']:,} of rows that no split has"
    if not changed["test"]:
        return [first]
    tested = f"corrections: {changed['test']:,} labels of test changed: "
    return [first, tested + "its figures cannot be compared with earlier ones"]


def _faults(
    decided: Mapping[str, Correction], rows: Mapping[str, Row], classes: set[str], counts: Mapping[str, int]
) -> dict[str, list[str]]:
    """Return what is wrong with the decided rows: fault -> rows; `counts` are the rows of each raw file."""
    there = {id_ for id_ in decided if _exists(id_, counts)}
    listed = ", ".join(map(repr, sorted(classes, key=labels.order)))
    others = {
        id_
        for id_ in there & rows.keys()
        if decided[id_].content and decided[id_].content != content(rows[id_].whole)
    }
    return {
        "ids that the data does not have": [id_ for id_ in decided if id_ not in there],
        "rows that are others than when they were listed, since the source has changed": [
            id_ for id_ in decided if id_ in others
        ],
        f"labels that are none of the classes ({listed})": [
            f"{id_}: {own.label!r}" for id_, own in decided.items() if own.label not in classes
        ],
    }


def _exists(id_: str, counts: Mapping[str, int]) -> bool:
    split, _, number = id_.partition(":")
    plain_ = number.isascii() and number.isdecimal() and number == str(int(number))
    return plain_ and 1 <= int(number) <= counts.get(split, 0)


def _refuse(path: Path, faults: Mapping[str, list[str]]) -> None:
    if not (found := {fault: rows for fault, rows in faults.items() if rows}):
        return
    shown = [
        f"\n    - {len(rows)} {fault}: {'; '.join(rows[:SHOWN])}"
        + (f" and {len(rows) - SHOWN} more" if len(rows) > SHOWN else "")
        for fault, rows in found.items()
    ]
    raise DataError(
        f"{path}: corrections cannot be applied",
        got="".join(shown),
        expected="for each id of a row of data/clean the name of a class, or an empty label",
        hint=HINT,
    )


def _refuse_gaps(path: Path, before: Parts, after: Parts) -> None:
    moved, left = (Counter(row.label for row in row_sets.brief(parts["train"])) for parts in (before, after))
    if lost := sorted(moved.keys() - left.keys(), key=labels.order):
        got = ", ".join(f"{label!r} had {moved[label]} rows of train" for label in lost)
        hint = "leave some rows to the class, or remove it from the source"
        raise DataError(
            f"{path}: corrections leave classes without any row", got=got, expected="none", hint=hint
        )
