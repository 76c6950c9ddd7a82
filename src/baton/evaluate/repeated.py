"""The main figure without the test rows that training has nearly seen: how much of it is due to repetition.

Input: `report.json` of data/clean, which names the test rows that have a near-duplicate (or a copy) in train
or val. Output: figures next to those of the whole test split.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from baton import storage
from baton.errors import DataError
from baton.evaluate.inputs import Rows
from baton.evaluate.task_reports import TaskReports


def read(clean: Path) -> set[str]:
    """Return the ids of the test rows that have a near-duplicate in train or val.

    Raises:
        DataError: the report is missing or was written by an earlier version.
    """
    path = clean / "report.json"
    try:
        return set(storage.read_json(path)["near_duplicates"]["test_rows"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        got = getattr(error, "strerror", None) or repr(error)
        expected, hint = "near_duplicates: test_rows", "run `dvc repro preprocess`"
        raise DataError(f"{path} cannot be used", got=got, expected=expected, hint=hint) from None


def figures(
    task: TaskReports, repeats: set[str], test: Rows, outputs: Mapping[str, Any], confidence: float
) -> dict[str, dict[str, Any]]:
    """Return `<main figure>_without_near_duplicates` of each model with its interval.

    Empty if no row, or every row, is a near-duplicate.

    Args:
        task: what the models predict.
        repeats: ids, as returned by `read`.
        test: the rows.
        outputs: model -> its answers on them.
        confidence: of the intervals.
    """
    own = np.array([id_ not in repeats for id_ in test.ids])
    if own.all() or not own.any():
        return {}
    found: dict[str, dict[str, Any]] = {}
    for name, one in outputs.items():
        value, *ends = task.of_rows(test.targets, one, own, confidence)
        key = f"{task.figures.main}_without_near_duplicates"
        found[name] = {key: value} | ({f"{key}_interval": ends} if np.isfinite(ends).all() else {})
    return found
