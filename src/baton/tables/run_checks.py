"""Run all checks on the rows of all files in order, and the cut by time between them."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from pathlib import Path

from baton import params
from baton.errors import DataError
from baton.tables import (
    assignment,
    audio_rows,
    checks,
    dropped_rows,
    encoded_rows,
    image_rows,
    label_checks,
    labels,
    near_duplicates,
    near_rows,
    novel_rows,
    row_sets,
    row_units,
    stored_rows,
    text_key,
    text_numbers,
)
from baton.tables.checks import SURROGATE, Finding
from baton.tables.row_sets import Rows
from baton.tables.rows import RawTable, Row
from baton.tables.target_cells import TargetCells


@dataclasses.dataclass
class Checked:
    """The state of the rows as they pass through the checks.

    `usable` are the rows that can be read and have a label, including those dropped by a later check. Units
    are numbered over these, so that a new row that makes another one conflict or leak does not move a third
    to another split. For the same reason their labels keep the names that a check takes out of `rows`: it may
    leave them there once more rows have come.
    """

    rows: Rows
    present: set[str]  # splits that do not need cutting
    findings: list[Finding]
    usable: Rows = ()
    alike: near_duplicates.Near = dataclasses.field(default_factory=dict)
    notes: list[str] = dataclasses.field(default_factory=list)  # for the user
    # Split of novel classes -> its rows, which are not among `rows`.
    novel: dict[str, Rows] = dataclasses.field(default_factory=dict)
    cells: TargetCells = dataclasses.field(kw_only=True)

    def apply(self, name: str, policy: str, found: dict[str, str]) -> None:
        """Drop rows as the policy says, and keep the finding."""
        self.rows, finding = checks.apply(name, policy, found, self.rows)
        self.findings.append(finding)

    def drop_names(self, name: str, policy: str, reasons: Mapping[str, str]) -> None:
        """Apply a check that found names: with the policy `drop` they, or their rows, leave the table."""
        found = label_checks.found(self.rows, reasons, self.cells.names)
        if policy != "drop" or not self.cells.names_leave:
            self.apply(name, policy, found)
            return
        if not found:
            self.findings.append(Finding(name, policy))
            return
        names, before = self.cells.names, self.rows
        self.rows = self._renamed(before, lambda one: None if one in reasons else one)
        taken, emptied, gone = dict[str, int](), list[str](), set[str]()
        for one, row in zip(row_sets.brief(before), row_sets.brief(self.rows), strict=True):
            old, new = names(one.label), names(row.label)
            if len(old) > len(new):
                taken[row.id] = len(old) - len(new)
            if old and not new:
                emptied.append(row.id)
            gone |= {*old} - {*new}
        self.findings.append(Finding(name, policy, found, taken=taken, emptied=emptied))
        self.notes.append(
            f"{name}: {sum(taken.values())} mentions of {len(gone)} labels taken out; "
            f"{len(emptied)} rows lost their only label"
        )

    def rename(self, new: Callable[[str], str]) -> None:
        """Rename the names of all rows."""
        self.rows, self.usable = self._renamed(self.rows, new), self._renamed(self.usable, new)

    def _renamed(self, rows: Rows, new: Callable[[str], str | None]) -> Rows:
        def renamed(row: Row) -> Row:
            label = self.cells.renamed(row.label, new)
            return row if label == row.label else dataclasses.replace(row, label=label)

        return row_sets.changed(rows, renamed)


def check(
    raw_tables: list[RawTable],
    settings: params.Preprocess,
    cells: TargetCells,
    folder: Path | None = None,
) -> Checked:
    """Run all checks; `cells` says what labels mean, and temporary files are made in `folder`.

    Raises:
        DataError: Params name a time column, and no row is left for train; or novel classes that no row has.
    """
    policies = settings.checks.model_dump()
    row_checks, noun = checks.ordered(checks.ROW_CHECKS, cells.checks()), "text"
    match settings:
        case params.ImagePreprocess() | params.ImageTextPreprocess():
            both = isinstance(settings, params.ImageTextPreprocess)
            own = checks.ROW_CHECKS_OF_IMAGES_WITH_TEXTS if both else checks.ROW_CHECKS_OF_IMAGES
            row_checks, noun = checks.ordered(own, cells.checks()), "picture"
            row_checks = encoded_rows.single_checks(raw_tables, image_rows.CHECKS) | row_checks
        case params.AudioPreprocess():
            row_checks, noun = checks.ordered(checks.ROW_CHECKS_OF_AUDIO, cells.checks()), "clip"
            row_checks = encoded_rows.single_checks(raw_tables, audio_rows.CHECKS) | row_checks
        case params.TextPreprocess():
            pass
    malformed = checks.malformed(raw_tables)
    state = Checked(
        _all(raw_tables),
        {table.split for table in raw_tables},
        [Finding("malformed", policies["malformed"], malformed, list(malformed))],
        cells=cells,
    )
    for name, one in row_checks.items():
        if name == "conflict":
            state.usable, state.alike = state.rows, _alike(state.rows, raw_tables, folder)
        _run(state, name, one, policies[name], settings)
        if name == "duplicate":
            _cut_by_time(state, raw_tables, settings)
    near = near_rows.near_duplicate(state.rows, state.alike, cells.contexts)
    state.apply("near_duplicate", policies["near_duplicate"], near)
    if (novel := novel_rows.of(settings)) is not None:
        state.apply("novel_leakage", policies["leakage"], novel_rows.leakage(state.rows, novel))
        state.novel, state.rows = novel_rows.taken(state.rows, novel)
    _small_classes(state, settings, noun)
    state.drop_names(
        "unseen_label", policies["unseen_label"], label_checks.unseen_names(state.rows, cells.names)
    )
    return state


def _run(
    state: Checked,
    name: str,
    one: Callable[[Rows], dict[str, str]],
    policy: str,
    settings: params.Preprocess,
) -> None:
    if name == "similar_labels" and settings.label_names:
        named = {labels.normal(label): labels.normal(name) for label, name in settings.label_names.items()}
        unknown = label_checks.unknown_label(state.rows, named, state.cells.names)
        state.apply("unknown_label", "fail", unknown)
        state.rename(named.__getitem__)
    if name == "similar_labels" and (found := label_checks.control_characters(state.rows, state.cells.names)):
        state.apply("control_label", "fail", found)
    state.apply(name, policy, one(state.rows))
    finding = state.findings[-1]
    # Undecodable bytes of the rows that stay become the replacement character.
    if name == "invalid_utf8" and len(finding.dropped) < len(finding.rows):
        state.rows = row_sets.changed(state.rows, readable, texts=True)
        state.rename(lambda one: SURROGATE.sub("\ufffd", one))


def _cut_by_time(state: Checked, raw_tables: list[RawTable], settings: params.Preprocess) -> None:
    """Cut the remaining rows by time, so that shares refer to the rows in use."""
    before, files = state.rows, state.present
    try:
        state.rows, state.present = assignment.by_time(before, settings, files)
    except DataError as error:
        raise dropped_rows.explained(error, state.findings, raw_tables, {"error": str(error)}) from None
    state.notes += assignment.missed_by_time(before, state.rows, settings, state.present - files, state.cells)


def _small_classes(state: Checked, settings: params.Preprocess, noun: str) -> None:
    least, every = assignment.needed(state.present), row_units.unit_of(state.usable, state.alike)
    units = every[row_sets.places_in(state.rows, state.usable)]
    find = functools.partial(
        label_checks.small_names,
        least=least,
        names=state.cells.names,
        noun=noun,
        units=units,
        what=state.cells.word,
    )
    reasons = find(state.rows)
    small = label_checks.found(state.rows, reasons, state.cells.names)
    state.drop_names("small_class", str(settings.checks.small_class), reasons)
    if isinstance(settings.checks.small_class, params.OtherClass):
        name = settings.checks.small_class.other
        if own := sum(row.label == name and row.id not in small for row in row_sets.brief(state.rows)):
            note = f"preprocess.checks.small_class: {name!r} is a class of {own} rows already; "
            note += f"{len(small)} rows of small classes come to it"
            state.notes.append(note)
        state.rename(lambda one: name if one in reasons else one)
        still = label_checks.found(state.rows, find(state.rows), state.cells.names)
        if still := {id_: reason for id_, reason in still.items() if id_ in small}:
            state.apply("small_class_merged", "fail", still)


def readable(row: Row) -> Row:
    """Return the row with the replacement character for each byte that could not be decoded."""
    if all(one.isascii() for one in (row.text, row.pair or "", row.caption)):
        return row
    pair = None if row.pair is None else SURROGATE.sub("\ufffd", row.pair)
    text, caption = (SURROGATE.sub("\ufffd", one) for one in (row.text, row.caption))
    return dataclasses.replace(row, text=text, pair=pair, caption=caption)


def _all(raw_tables: list[RawTable]) -> Rows:
    """Return the rows of all files, in their order."""
    found = [table.rows for table in raw_tables]
    stored = [rows for rows in found if isinstance(rows, stored_rows.StoredRows)]
    return stored_rows.joined(stored) if stored else [row for rows in found for row in rows]


def _alike(rows: Rows, raw_tables: list[RawTable], folder: Path | None) -> near_duplicates.Near:
    if any(isinstance(table, encoded_rows.EncodedTable) for table in raw_tables):
        return encoded_rows.near_duplicates(raw_tables, rows)
    if isinstance(rows, stored_rows.StoredRows):
        return text_numbers.near(rows, folder)
    return near_duplicates.texts(text_key.key(row.whole) for row in rows)
