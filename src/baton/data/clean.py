"""`data/raw/` -> `data/clean/`: one clean table a split, the labels, and a report of what was found and dropped.

Outputs: `{train,val,test}.parquet` (id string, text string, label int32: index into `labels.json`; of images what `image_tables` says),
`labels.json` (sorted names), `report.json`. Equal inputs and params give equal bytes.
"""

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

from baton import params, storage
from baton.data import checks, image_rows, splits, tables
from baton.data.checks import SURROGATE, Finding
from baton.data.columns import Columns
from baton.data.raw import RawTable, Row
from baton.errors import DataError

SPLITS = ("train", "val", "test")
ROW_GROUP = 4096  # rows; a reader that goes by row groups needs memory for this many
SHOWN_ROWS = 5


def clean(raw: Path, target: Path, settings: params.Preprocess) -> dict[str, Any]:
    """Check, cut and write; return the report.

    Raises:
        DataError: a file cannot be used; a check whose policy is `fail` found rows (all such checks are named at once); a label is unknown
            to `label_names`; fewer than two classes are left; a split cannot be cut. Nothing half-written is left.
        OutputError: `target` cannot be written.
    """
    raw_tables = _read(raw, settings)
    rows, findings = _check(raw_tables, settings)
    drift = checks.drift(rows)
    _raise_failures(rows, findings, drift, settings)
    parts, limited = _split(rows, settings, {table.split for table in raw_tables})
    labels = sorted({row.label for part in parts.values() for row in part})
    counts = {split: Counter(row.label for row in parts[split]) for split in SPLITS}
    report: dict[str, Any] = {
        "rows": {"raw": {table.split: table.count for table in raw_tables}, "clean": {split: len(parts[split]) for split in SPLITS}},
        "blank_lines": {table.split: table.blank_lines for table in raw_tables},
        "limited": limited,
        "checks": {finding.check: _describe(finding, raw_tables) for finding in findings}
        | {"drift": {"policy": settings.checks.drift, **(drift or {"found": False})}},
        "classes": {label: {split: counts[split][label] for split in SPLITS} for label in labels},
    }
    if decoded := {table.split: table.decoded() for table in raw_tables if isinstance(table, image_rows.ImageTable)}:
        report["decoded"] = decoded
    with storage.atomic_folder(target) as folder:
        match settings:
            case params.TextPreprocess():
                for split in SPLITS:
                    _write(folder / f"{split}.parquet", parts[split], labels)
            case params.ImagePreprocess():
                image_rows.write(folder, raw_tables, parts, labels, settings)
        storage.write_json(folder / "labels.json", labels)
        storage.write_json(folder / "report.json", report)
    return report


# ---- reading and checking ----------------------------------------------------------------------------------------------------


def _read(raw: Path, settings: params.Preprocess) -> list[RawTable]:
    manifest = raw / "manifest.json"
    if not manifest.is_file():
        raise DataError(f"{manifest} is not there", got="no raw data", expected="what `download` writes", hint="run `dvc repro download`")
    files = storage.read_json(manifest)["files"]
    paths = {split: raw / files[split]["path"] for split in SPLITS if split in files}
    for path in paths.values():
        if not path.is_file():
            raise DataError(
                f"{path} is not there", got="only its manifest", expected=f"the file of {manifest}", hint="run `dvc repro download`"
            )
    match settings:
        case params.TextPreprocess():
            columns = Columns(settings.text_column, settings.label_column)
            return [tables.read(path, split, settings.format, columns) for split, path in paths.items()]
        case params.ImagePreprocess():
            return [image_rows.read(path, split, settings) for split, path in paths.items()]


def _check(raw_tables: list[RawTable], settings: params.Preprocess) -> tuple[list[Row], list[Finding]]:
    policies = settings.checks.model_dump()
    row_checks, noun = checks.ROW_CHECKS, "text"
    if isinstance(settings, params.ImagePreprocess):
        row_checks, noun = image_rows.single_checks(raw_tables) | checks.ROW_CHECKS_OF_IMAGES, "picture"
    rows = [row for table in raw_tables for row in table.rows]
    found = checks.malformed(raw_tables)
    findings = [Finding("malformed", policies["malformed"], found, list(found))]

    def apply(name: str, policy: str, found: dict[str, str]) -> None:
        nonlocal rows
        rows, finding = checks.apply(name, policy, found, rows)
        findings.append(finding)

    for name, check in row_checks.items():
        apply(name, policies[name], check(rows))
        if name == "invalid_utf8":  # where they are kept, each undecodable byte shows as the replacement character
            rows = [_replaced(row) for row in rows]
        if name == "missing_label" and settings.label_names:
            apply("unknown_label", "fail", checks.unknown_label(rows, settings.label_names))
            rows = [dataclasses.replace(row, label=settings.label_names[row.label]) for row in rows]
    least = 1 + len({"val", "test"} - {table.split for table in raw_tables})
    apply("small_class", policies["small_class"], checks.small_class(rows, least, noun))
    apply("unseen_label", policies["unseen_label"], checks.unseen_label(rows))
    return rows, findings


def _replaced(row: Row) -> Row:
    return dataclasses.replace(row, text=SURROGATE.sub("\ufffd", row.text), label=SURROGATE.sub("\ufffd", row.label))


def _raise_failures(rows: list[Row], findings: list[Finding], drift: dict[str, Any] | None, settings: params.Preprocess) -> None:
    problems = [
        f"{finding.check}: {len(finding.rows)} rows: {_first(finding)}" for finding in findings if finding.policy == "fail" and finding.rows
    ]
    if settings.checks.drift == "fail" and drift and drift["found"]:
        problems.append(f"drift: the labels of test differ from train's: {drift_text(drift)}")
    train = Counter(row.label for row in rows if row.split == "train")
    if len(train) < 2:
        left = ", ".join(f"{count} rows of {label!r}" for label, count in train.items()) or "no row"
        problems.append(f"single class: train has {left} after the checks, a classifier needs at least 2 labels")
    if problems:
        hint = "mend the rows or preprocess (columns, label_names), or set the check in preprocess.checks to drop or keep"
        problem = f"the data cannot be used: {len(problems)} problem{'s' if len(problems) > 1 else ''}"
        raise DataError(problem, got="".join(f"\n    - {line}" for line in problems), expected="none of these", hint=hint)


def _first(finding: Finding) -> str:
    shown = [f"{id_} ({reason})" for id_, reason in list(finding.rows.items())[:SHOWN_ROWS]]
    return "; ".join(shown) + (" …" if len(finding.rows) > SHOWN_ROWS else "")


# ---- cutting -----------------------------------------------------------------------------------------------------------------


def _split(rows: list[Row], settings: params.Preprocess, present: set[str]) -> tuple[dict[str, list[Row]], dict[str, int]]:
    """Cut test (if the source has none), apply the limits, then cut val (if the source has none) from what is left of train."""
    parts = {split: [row for row in rows if row.split == split] for split in SPLITS}
    cuts = 1 - ("val" in present)
    if "test" not in present:
        whole, seed, leave = parts["train"], settings.seed, 1 + cuts
        match settings.test:
            case params.ByShare(share=share):  # a test row stays one when rows are added
                parts["test"], parts["train"] = splits.cut_for_good(whole, share, seed=seed, purpose="test")
            case params.ByCount(count=count):
                parts["test"], parts["train"] = splits.cut(whole, count, seed=seed, purpose="test", leave=leave)
    limited = {}
    for split, limit in (("train", settings.limit.train), ("test", settings.limit.test)):
        before = len(parts[split])
        if limit is not None and limit < before:
            classes = len({row.label for row in parts[split]})
            least = 1 + cuts if split == "train" else int(limit >= classes)
            parts[split], _ = splits.cut(parts[split], limit, seed=settings.seed, purpose=f"limit.{split}", least=least)
        limited[split] = before - len(parts[split])
    if "val" not in present:
        count = splits.wanted(settings.validation, len(parts["train"]))
        parts["val"], parts["train"] = splits.cut(parts["train"], count, seed=settings.seed, purpose="validation", leave=1)
    lost = {row.label for row in rows if row.split == "train"} - {row.label for row in parts["train"]}
    if lost:
        hint = "set preprocess.checks.conflict or small_class to drop, or choose another preprocess.seed"
        raise DataError("cutting the splits leaves labels without a train row", got=sorted(lost), expected="none", hint=hint)
    for split, part in parts.items():
        if not part:
            hint = "see the file, and what preprocess.checks drops"
            raise DataError(f"split {split} has no rows left", got="0 rows", expected="at least 1", hint=hint)
    return parts, limited


# ---- writing -----------------------------------------------------------------------------------------------------------------


def _describe(finding: Finding, raw_tables: list[RawTable]) -> dict[str, Any]:
    found, dropped = (Counter(id_.partition(":")[0] for id_ in ids) for ids in (finding.rows, finding.dropped))
    return {
        "policy": finding.policy,
        "found": {table.split: found[table.split] for table in raw_tables},
        "dropped": {table.split: dropped[table.split] for table in raw_tables},
        "rows": list(finding.rows),
        "reasons": finding.rows,
        "dropped_rows": finding.dropped,
    }


def _write(path: Path, rows: list[Row], labels: list[str]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    index = {label: number for number, label in enumerate(labels)}
    columns = {
        "id": pa.array([row.id for row in rows], pa.string()),
        "text": pa.array([row.text for row in rows], pa.string()),
        "label": pa.array([index[row.label] for row in rows], pa.int32()),
    }
    pq.write_table(pa.table(columns), path, row_group_size=ROW_GROUP)


def drift_text(drift: dict[str, Any]) -> str:
    """One line for a person."""
    return (
        f"total variation {drift['total_variation']:.3f}, chi-square {drift['chi_square']:.1f} "
        f"with {drift['degrees_of_freedom']} degrees of freedom, p = {drift['p_value']:.2g}"
    )
