"""Run all checks on the rows of all files in order, and the cut by time between them."""

import dataclasses
from collections.abc import Callable

from baton import params
from baton.errors import DataError
from baton.tables import (
    assignment,
    checks,
    dropped_rows,
    image_rows,
    labels,
    near_duplicates,
    near_rows,
    splits,
)
from baton.tables.checks import SURROGATE, Finding
from baton.tables.rows import RawTable, Row


@dataclasses.dataclass
class Checked:
    """The state of the rows as they pass through the checks.

    `usable` are the rows that can be read and have a label, including those dropped by a later check. Units
    are numbered over these, so that a new row that makes another one conflict or leak does not move a third
    to another split.
    """

    rows: list[Row]
    present: set[str]  # splits that do not need cutting
    findings: list[Finding]
    usable: list[Row] = dataclasses.field(default_factory=list)
    alike: near_duplicates.Near = dataclasses.field(default_factory=dict)
    notes: list[str] = dataclasses.field(default_factory=list)  # for the user

    def apply(self, name: str, policy: str, found: dict[str, str]) -> None:
        """Drop rows as the policy says, and keep the finding."""
        self.rows, finding = checks.apply(name, policy, found, self.rows)
        self.findings.append(finding)


def check(raw_tables: list[RawTable], settings: params.Preprocess) -> Checked:
    """Run all checks.

    Raises:
        DataError: Params name a time column, and no row is left for train.
    """
    policies = settings.checks.model_dump()
    row_checks, noun = checks.ROW_CHECKS, "text"
    if isinstance(settings, params.ImagePreprocess):
        row_checks, noun = image_rows.single_checks(raw_tables) | checks.ROW_CHECKS_OF_IMAGES, "picture"
    malformed = checks.malformed(raw_tables)
    state = Checked(
        [row for table in raw_tables for row in table.rows],
        {table.split for table in raw_tables},
        [Finding("malformed", policies["malformed"], malformed, list(malformed))],
    )
    for name, one in row_checks.items():
        if name == "conflict":
            state.usable, state.alike = state.rows, _alike(state.rows, raw_tables, settings)
        _run(state, name, one, policies[name], settings)
        if name == "duplicate":
            _cut_by_time(state, raw_tables, settings)
    state.apply(
        "near_duplicate", policies["near_duplicate"], near_rows.near_duplicate(state.rows, state.alike)
    )
    _small_classes(state, settings, noun)
    state.apply("unseen_label", policies["unseen_label"], checks.unseen_label(state.rows))
    return state


def _run(
    state: Checked,
    name: str,
    one: Callable[[list[Row]], dict[str, str]],
    policy: str,
    settings: params.Preprocess,
) -> None:
    state.apply(name, policy, one(state.rows))
    if name == "invalid_utf8":  # undecodable bytes of the rows that stay become the replacement character
        state.rows = [_replaced(row) for row in state.rows]
    if name == "missing_label" and settings.label_names:
        named = {labels.normal(label): labels.normal(name) for label, name in settings.label_names.items()}
        state.apply("unknown_label", "fail", checks.unknown_label(state.rows, named))
        state.rows = [dataclasses.replace(row, label=named[row.label]) for row in state.rows]


def _cut_by_time(state: Checked, raw_tables: list[RawTable], settings: params.Preprocess) -> None:
    """Cut the remaining rows by time, so that shares refer to the rows in use."""
    before, files = state.rows, state.present
    try:
        state.rows, state.present = assignment.by_time(before, settings, files)
    except DataError as error:
        raise dropped_rows.explained(error, state.findings, raw_tables, {"error": str(error)}) from None
    state.notes += assignment.missed_by_time(before, state.rows, settings, state.present - files)


def _small_classes(state: Checked, settings: params.Preprocess, noun: str) -> None:
    least, units = assignment.needed(state.present), splits.unit_of(state.usable, state.alike)
    small = checks.small_class(state.rows, least, noun, units)
    state.apply("small_class", str(settings.checks.small_class), small)
    if isinstance(settings.checks.small_class, params.OtherClass):
        merged, name = {row.label for row in state.rows if row.id in small}, settings.checks.small_class.other
        if own := sum(row.label == name and row.id not in small for row in state.rows):
            note = f"preprocess.checks.small_class: {name!r} is a class of {own} rows already; "
            note += f"{len(small)} rows of small classes come to it"
            state.notes.append(note)
        state.rows, state.usable = (
            [dataclasses.replace(row, label=name) if row.label in merged else row for row in rows]
            for rows in (state.rows, state.usable)
        )
        if still := {
            id_: reason
            for id_, reason in checks.small_class(state.rows, least, noun, units).items()
            if id_ in small
        }:
            state.apply("small_class_merged", "fail", still)


def _alike(rows: list[Row], raw_tables: list[RawTable], settings: params.Preprocess) -> near_duplicates.Near:
    match settings:
        case params.TextPreprocess():
            return near_duplicates.texts(checks.key(row.text) for row in rows)
        case params.ImagePreprocess():
            return image_rows.near_duplicates(raw_tables, rows)


def _replaced(row: Row) -> Row:
    return dataclasses.replace(
        row, text=SURROGATE.sub("\ufffd", row.text), label=SURROGATE.sub("\ufffd", row.label)
    )
