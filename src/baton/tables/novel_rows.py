"""Rows of classes that `preprocess.novel` holds out: they take part in no split but those of episodes.

Inputs: the rows that passed the checks, `preprocess.novel` -> the rows of each of its splits, and the others.
"""

import difflib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from baton import params
from baton.contracts import novel_classes
from baton.errors import DataError
from baton.tables import clean_tables, labels, near_duplicates, near_rows, row_sets, text_numbers
from baton.tables.row_sets import Rows
from baton.tables.target_cells import TargetCells

SHOWN = 8  # classes that an error names


def of(settings: params.Preprocess) -> params.NovelClasses | None:
    """Return the classes that params hold out, if any."""
    return settings.novel if isinstance(settings, params.TextPreprocess) else None


def leakage(rows: Rows, novel: params.NovelClasses) -> dict[str, str]:
    """Return rows of novel classes whose text also has another place: row id -> reason.

    Such a place is a row of a class that is not held out, or, for rows of the classes for validation, one of
    the classes for test. A model may have been trained on it, or chosen by it.
    """
    splits = _splits(novel)
    numbers, _, size = text_numbers.of(rows)
    own, names = row_sets.coded((splits.get(row.label, "") for row in row_sets.brief(rows)), len(rows))
    known = {split: row_sets.earliest(numbers, size, own == code) for code, split in enumerate(names)}
    later = {"test": ("",), "validation": ("", "test")}
    found = {}
    held = np.array([split in later for split in names], np.bool_)[own]
    for row, number, code in zip(
        row_sets.brief(row_sets.where(rows, held)), numbers[held], own[held], strict=True
    ):
        for split in later[names[code]]:
            if split in known and (twin := int(known[split][number])) >= 0:
                found[row.id] = f"the same text as {row_sets.one(rows, twin).id}"
                break
    return found


def taken(rows: Rows, novel: params.NovelClasses) -> tuple[dict[str, Rows], Rows]:
    """Return the rows of each split of novel classes, in the order of `rows`, and the other rows.

    Raises:
        DataError: no row has one of the labels.
    """
    splits, there = _splits(novel), {row.label for row in row_sets.brief(rows)}
    if missing := [label for label in splits if label not in there]:
        close = difflib.get_close_matches(missing[0], there, n=1)
        few = sorted(there, key=labels.order)
        more = f" and {len(few) - SHOWN} more" if len(few) > SHOWN else ""
        raise DataError(
            "preprocess.novel names classes that no row has",
            got=", ".join(map(repr, missing)),
            expected=f"some of {', '.join(map(repr, few[:SHOWN]))}{more}",
            hint=f"write {close[0]!r}" if close else "correct the labels, or remove them",
        )
    parts = {novel_classes.SPLITS[name]: _of_split(rows, splits, name) for name in novel.splits}
    return parts, row_sets.having(rows, lambda row: row.label not in splits)


def _of_split(rows: Rows, splits: Mapping[str, str], name: str) -> Rows:
    return row_sets.having(rows, lambda row: splits.get(row.label) == name)


def report(parts: Mapping[str, Rows], cut: Mapping[str, Rows], alike: near_duplicates.Near) -> dict[str, Any]:
    """Return what report.json says of novel classes: rows by class, and those with a near-duplicate in train.

    `cut` are the usual splits. If there are no novel classes, it says nothing.
    """
    known = {"train": cut["train"], "val": cut["val"]}
    found = {
        split: {
            "rows": len(rows),
            "classes": {label: counts[label] for label in sorted(counts, key=labels.order)},
            "near_training": near_rows.near_training({**known, "test": rows}, alike),
        }
        for split, rows in parts.items()
        if (counts := Counter(row.label for row in row_sets.brief(rows)))
    }
    return {"novel": found} if found else {}


def write(folder: Path, parts: Mapping[str, Rows], settings: params.Preprocess, cells: TargetCells) -> None:
    """Write the table of each split, and the task of its classes."""
    for split, rows in parts.items():
        assert isinstance(settings, params.TextPreprocess), "only tables of texts have novel classes"
        found = [row.label for row in row_sets.brief(rows)]
        spec = cells.spec(sorted({*found}, key=labels.order), found)
        clean_tables.write(folder / f"{split}.parquet", rows, spec, settings, cells)
        novel_classes.write(folder, split, spec)


def _splits(novel: params.NovelClasses) -> dict[str, str]:
    """Map each label to the key of its split."""
    return {labels.normal(label): split for split, own in novel.splits.items() for label in own}
