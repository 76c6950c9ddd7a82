"""Rows of classes that `preprocess.novel` holds out: they take part in no split but those of episodes.

Inputs: the rows that passed the checks, `preprocess.novel` -> the rows of each of its splits, and the others.
"""

import difflib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from baton import params
from baton.contracts import novel_classes
from baton.errors import DataError
from baton.tables import clean_tables, labels, near_duplicates, near_rows
from baton.tables.checks import key
from baton.tables.rows import Row
from baton.tables.target_cells import TargetCells

SHOWN = 8  # classes that an error names


def of(settings: params.Preprocess) -> params.NovelClasses | None:
    """Return the classes that params hold out, if any."""
    return settings.novel if isinstance(settings, params.TextPreprocess) else None


def leakage(rows: list[Row], novel: params.NovelClasses) -> dict[str, str]:
    """Return rows of novel classes whose text also has another place: row id -> reason.

    Such a place is a row of a class that is not held out, or, for rows of the classes for validation, one of
    the classes for test. A model may have been trained on it, or chosen by it.
    """
    splits = _splits(novel)
    known: dict[str, dict[str, str]] = {"": {}, "test": {}, "validation": {}}  # split -> text -> row id
    for row in rows:
        known[splits.get(row.label, "")].setdefault(key(row.whole), row.id)
    later = {"test": ("",), "validation": ("", "test")}
    found = {}
    for row in rows:
        for split in later.get(splits.get(row.label, ""), ()):
            if (twin := known[split].get(key(row.whole))) is not None:
                found[row.id] = f"the same text as {twin}"
                break
    return found


def taken(rows: list[Row], novel: params.NovelClasses) -> tuple[dict[str, list[Row]], list[Row]]:
    """Return the rows of each split of novel classes, in the order of `rows`, and the other rows.

    Raises:
        DataError: no row has one of the labels.
    """
    splits, there = _splits(novel), {row.label for row in rows}
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
    parts = {
        novel_classes.SPLITS[name]: [row for row in rows if splits.get(row.label) == name]
        for name in novel.splits
    }
    return parts, [row for row in rows if row.label not in splits]


def report(
    parts: Mapping[str, list[Row]], cut: Mapping[str, list[Row]], alike: near_duplicates.Near
) -> dict[str, Any]:
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
        if (counts := Counter(row.label for row in rows))
    }
    return {"novel": found} if found else {}


def write(
    folder: Path, parts: Mapping[str, list[Row]], settings: params.Preprocess, cells: TargetCells
) -> None:
    """Write the table of each split, and the task of its classes."""
    for split, rows in parts.items():
        assert isinstance(settings, params.TextPreprocess), "only tables of texts have novel classes"
        spec = cells.spec(sorted({row.label for row in rows}, key=labels.order), [row.label for row in rows])
        clean_tables.write(folder / f"{split}.parquet", rows, spec, settings, cells)
        novel_classes.write(folder, split, spec)


def _splits(novel: params.NovelClasses) -> dict[str, str]:
    """Map each label to the key of its split."""
    return {labels.normal(label): split for split, own in novel.splits.items() for label in own}
