"""Turn `data/raw/` into `data/clean/`: one clean table per split, the labels, and a report of the checks.

Outputs: `{train,val,test}.parquet` (id string, text string, text_pair string if rows are
pairs, the target as indexes into the names in
`task.json`, see `target_cells`, weight float32 if params name its column, and the kept columns as strings;
for images and sound see `image_tables`), the same of novel classes (see `contracts.novel_classes`),
`unlabelled.parquet` if there are rows without labels (see `unlabelled_table`), `soft_labels.parquet` if the
source has soft labels (see `soft_label_table`), `units.parquet` (see `row_attributes`), `task.json` (see
`contracts.task_spec`; names are sorted, numbers by value), `report.json`. Equal inputs and params give equal
bytes.
"""

import contextlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from baton import params, storage, temporaries
from baton.contracts import corrections as corrected
from baton.contracts import row_attributes, soft_labels, task_spec, transfer_set
from baton.errors import DataError
from baton.tables import (
    assignment,
    audio_rows,
    clean_tables,
    corrections,
    dropped_rows,
    encoded_rows,
    extra_columns,
    held_out,
    image_rows,
    label_checks,
    label_drift,
    labels,
    near_rows,
    novel_rows,
    pair_notes,
    readers,
    row_files,
    row_sets,
    row_units,
    run_checks,
    soft_label_table,
    stored_rows,
    target_cells,
    unlabelled_rows,
)
from baton.tables.checks import SURROGATE, Finding
from baton.tables.columns import Columns
from baton.tables.image_tables import AUDIO
from baton.tables.row_sets import Rows
from baton.tables.rows import RawTable
from baton.tables.target_cells import TargetCells

SPLITS = assignment.SPLITS


def clean(
    raw: Path,
    target: Path,
    settings: params.Preprocess,
    task: params.Task,
    held: held_out.HeldOut | None = None,
    corrects: bool = False,
) -> dict[str, Any]:
    """Check the rows, cut the splits and write the tables; return the report.

    Rows of train with a text that is `held` out are dropped. If it `corrects` labels, it does so by the file
    of corrections in `raw`, if there is one.

    Raises:
        DataError: A file cannot be used; a check whose policy is `fail` found rows (all such checks are named
            at once); a label is not in `label_names`; fewer than two classes are left; a split cannot be cut.
            No partial output is left behind.
        OutputError: `target` cannot be written.
    """
    with _rows_of(target) as rows:
        return _clean(raw, target, settings, task, held, corrects, rows)


@contextlib.contextmanager
def _rows_of(target: Path) -> Iterator[Path]:
    """Yield a temporary folder next to `target`, for rows that do not stay in memory."""
    with contextlib.ExitStack() as stack:
        with storage.explained(target):
            folder = stack.enter_context(temporaries.made(target.parent / "rows", folder=True))
        yield folder


def _clean(
    raw: Path,
    target: Path,
    settings: params.Preprocess,
    task: params.Task,
    held: held_out.HeldOut | None,
    corrects: bool,
    spool: Path,
) -> dict[str, Any]:
    """Do what `clean` says; rows of texts stay in the folder `spool` meanwhile."""
    cells = target_cells.of(task, settings.label_column)
    paths = _paths(raw)
    raw_tables = _read({split: paths[split] for split in SPLITS if split in paths}, settings, cells, spool)
    checked = run_checks.check(raw_tables, settings, cells, spool)
    rows, findings = checked.rows, checked.findings
    drift = cells.drift(rows)
    report: dict[str, Any] = {
        "rows": {"raw": {table.split: table.count for table in raw_tables}},
        "blank_lines": {table.split: table.blank_lines for table in raw_tables},
        "labels": _respelled(raw_tables),
        "notes": _notes(raw_tables, settings, cells) + checked.notes,
        "checks": {finding.check: _describe(finding, raw_tables) for finding in findings}
        | {"drift": {"policy": settings.checks.drift, **(drift or {"found": False})}},
    }
    try:
        _raise_failures(rows, findings, drift, raw_tables, settings, cells)
        assigned = assignment.part(rows, settings, checked.present, checked.alike, checked.usable, cells)
    except DataError as error:
        raise dropped_rows.explained(error, findings, raw_tables, report | {"error": str(error)}) from None
    parts, missed = assigned.parts, assigned.notes
    missed += held_out.drop(parts, held) if held else []
    if corrects and corrected.RAW in paths:
        parts, report["corrections"] = corrections.apply(paths[corrected.RAW], parts, raw_tables)
        assigned, missed = assigned._replace(parts=parts), missed + corrections.notes(report["corrections"])
    counts = {split: Counter(label_checks.every(parts[split], cells.names)) for split in SPLITS}
    names = sorted(set().union(*counts.values()), key=labels.order)
    report["rows"]["clean"] = {split: len(parts[split]) for split in SPLITS}
    report["limited"] = assigned.limited
    if assigned.shots:
        report["shots"] = assigned.shots
    if not cells.contexts:  # they are shared, and a question may be asked of several
        missed += pair_notes.notes(parts)
    report["notes"] += missed + near_rows.shared_captions(parts)
    # Ids of the clean table, including exact duplicates. Students learn from rows without labels too.
    found = near_rows.near_training(parts, checked.alike, assigned.unlabelled)
    report["near_duplicates"] = {"test_rows": found}
    report["classes"] = {name: {split: counts[split][name] for split in SPLITS} for name in names}
    without = {
        split: sum(not cells.names(row.label) for row in row_sets.brief(parts[split])) for split in SPLITS
    }
    if names and any(without.values()):
        report["without_label"] = without
    report |= novel_rows.report(checked.novel, parts, checked.alike)
    if summary := cells.summary(parts):
        report["numbers"] = summary
    spec = cells.spec(names, (row.label for row in row_sets.brief(parts["train"])))
    if decoded := {
        table.split: table.decoded() for table in raw_tables if isinstance(table, encoded_rows.EncodedTable)
    }:
        report["decoded"] = decoded
    with storage.atomic_folder(target) as folder:
        report |= _write(folder, raw_tables, assigned, spec, settings, cells, paths)
        novel_rows.write(folder, checked.novel, settings, cells)
        units = row_units.unit_of(checked.usable, checked.alike)
        units = units[row_sets.places_in(parts["train"], checked.usable)]
        clean_tables.write_units(folder / row_attributes.UNITS, parts["train"], units)
        storage.write_json(folder / task_spec.FILE, task_spec.described(spec))
        storage.write_json(folder / "report.json", report)
    storage.state(dropped_rows.REPORT).unlink(missing_ok=True)  # from an earlier run that failed
    return report


def _write(
    folder: Path,
    raw_tables: list[RawTable],
    assigned: assignment.Assigned,
    spec: task_spec.TaskSpec,
    settings: params.Preprocess,
    cells: TargetCells,
    paths: dict[str, Path],
) -> dict[str, Any]:
    """Write the clean tables; return what report.json says of rows without labels and of soft labels."""
    match settings:
        case params.TextPreprocess():
            for split in SPLITS:
                clean_tables.write(folder / f"{split}.parquet", assigned.parts[split], spec, settings, cells)
            found = unlabelled_rows.write(folder, assigned, paths.get(transfer_set.RAW), settings)
            soft = paths.get(soft_labels.RAW)
            return found | soft_label_table.write(folder, assigned, soft, spec.names, settings)
        case params.ImagePreprocess() | params.ImageTextPreprocess():
            image_rows.write(folder, raw_tables, assigned.parts, spec, settings, cells)
        case params.AudioPreprocess():
            encoded_rows.write(folder, raw_tables, assigned.parts, spec, settings, cells, AUDIO)
    return {}


# ---- reading and checking ----------------------------------------------------------------------------------


def _paths(raw: Path) -> dict[str, Path]:
    """Return the raw files by split, and those of rows without labels and of soft labels.

    Raises:
        DataError: One of them is missing.
    """
    manifest = raw / "manifest.json"
    if not manifest.is_file():
        raise DataError(
            f"{manifest} does not exist",
            got="no raw data",
            expected="the output of `download`",
            hint="run `dvc repro download`",
        )
    files = storage.read_json(manifest)["files"]
    paths = {name: raw / file["path"] for name, file in files.items()}
    for path in paths.values():
        if not path.exists():
            raise DataError(
                f"{path} does not exist",
                got="only its manifest",
                expected=f"the file listed in {manifest}",
                hint="run `dvc repro download`",
            )
    return paths


def _read(
    paths: dict[str, Path], settings: params.Preprocess, cells: TargetCells, spool: Path
) -> list[RawTable]:
    match settings:
        case params.TextPreprocess():
            columns = Columns(
                settings.text_column,
                settings.label_column,
                extra=extra_columns.of(settings),
                pair=settings.text_pair_column,
            )
            read = []
            for split, path in paths.items():
                rows = row_files.Spool(spool, split)
                table = RawTable(split, path, cells.read, rows=rows, joined=cells.joined)
                readers.fill(table, settings.format, columns)
                table.rows = stored_rows.StoredRows((rows.ended(),))
                read.append(table)
            _refuse_several_guesses(read)
            extra_columns.refuse_mixed_times(read, settings.time_column)
            return read
        case params.ImagePreprocess() | params.ImageTextPreprocess():
            return [*image_rows.read_all(paths, settings, cells.read)]
        case params.AudioPreprocess():
            return [*audio_rows.read_all(paths, settings, cells.read)]


def _refuse_several_guesses(raw_tables: list[RawTable]) -> None:
    """Refuse differing guesses: the files of a source come from one program, so one guess is wrong."""
    guesses = {table.guessed: table.path for table in raw_tables if table.guessed}
    if len(guesses) > 1:
        got, hint = (
            "; ".join(f"{path}: {name}" for name, path in guesses.items()),
            "set preprocess.format.encoding to their actual encoding",
        )
        raise DataError(
            "the guessed encodings differ", got=got, expected="one encoding for all files", hint=hint
        )


def _raise_failures(
    rows: Rows,
    findings: list[Finding],
    drift: dict[str, Any] | None,
    raw_tables: list[RawTable],
    settings: params.Preprocess,
    cells: TargetCells,
) -> None:
    problems = [
        f"{finding.check}: {len(finding.rows)} rows: {dropped_rows.words(finding.rows)}"
        for finding in findings
        if finding.policy == "fail" and finding.rows
    ]
    problems += dropped_rows.too_many(findings, raw_tables, settings, cells)
    if settings.checks.drift == "fail" and drift and drift["found"]:
        problems.append(f"drift: the labels of test differ from train's: {label_drift.text(drift)}")
    train = row_sets.having(rows, lambda row: row.part == "train")
    few = cells.too_few(row.label for row in row_sets.brief(train))
    if few and (not problems or _one_label(raw_tables)):  # otherwise it follows from the other problems
        problems.append(few)
    if problems:
        hint = "fix the rows or preprocess (format, columns, label_names), or allow them: "
        hint += "a policy in preprocess.checks, a share in max_dropped"
        small = [finding for finding in findings if finding.check == "small_class" and finding.rows]
        if small and any("small_class" in line for line in problems):
            listed = dropped_rows.classes(small[0], raw_tables, cells.names)
            hint += f"; {cells.small_advice(len({*label_checks.every(train, cells.names)}), listed)}"
        problem = f"the data cannot be used: {len(problems)} problem{'s' if len(problems) > 1 else ''}"
        raise DataError(
            problem, got="".join(f"\n    - {line}" for line in problems), expected="none of these", hint=hint
        )


def _one_label(raw_tables: list[RawTable]) -> bool:
    """Return whether all rows of train had the same label before any was dropped."""
    train = (table.rows for table in raw_tables if table.split == "train")
    labels = (row.label for rows in train for row in row_sets.brief(rows))
    first = next(labels, None)
    return first is not None and all(label == first for label in labels)


def _notes(raw_tables: list[RawTable], settings: params.Preprocess, cells: TargetCells) -> list[str]:
    """Return notes on the files for the user, besides the findings of the checks."""
    notes = [note for table in raw_tables for note in table.remarks]
    for table in raw_tables:
        if table.unlabelled:
            notes.append(
                f"{table.path}: {len(table.unlabelled)} of {table.count} rows have a null for a label: "
                "they are left out"
            )
        if (
            isinstance(settings, params.TextPreprocess)
            and settings.group_column
            and (alone := _without_group(table))
        ):
            notes.append(
                f"{table.path}: {alone} of {table.count} rows have no {settings.group_column}: "
                "each is a group of its own"
            )
        notes += cells.notes(table, settings.label_names)
    return notes


def _without_group(table: RawTable) -> int:
    return sum(not row.extras.group for row in row_sets.brief(table.rows))


def _respelled(raw_tables: list[RawTable]) -> list[dict[str, Any]]:
    """Return the labels that were normalized (white space, invisible characters, Unicode's composed form)."""
    counts = sum((table.respelled for table in raw_tables), Counter[tuple[str, str]]())
    return [
        {"label": SURROGATE.sub("\ufffd", label), "kept_as": SURROGATE.sub("\ufffd", kept), "rows": rows}
        for (label, kept), rows in sorted(counts.items())
    ]


def _describe(finding: Finding, raw_tables: list[RawTable]) -> dict[str, Any]:
    found, dropped = (
        Counter(id_.partition(":")[0] for id_ in ids) for ids in (finding.rows, finding.dropped)
    )
    return {
        "policy": finding.policy,
        "found": {table.split: found[table.split] for table in raw_tables},
        "dropped": {table.split: dropped[table.split] for table in raw_tables},
        "rows": list(finding.rows),
        "reasons": finding.rows,
        "dropped_rows": finding.dropped,
    } | ({"emptied_rows": finding.emptied} if finding.taken else {})
