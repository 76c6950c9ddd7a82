"""The main figure by the values of the columns that `preprocess.keep_columns` kept.

It shows for which rows a model is better or worse.

Input: data/clean/test.parquet -> rows of reports/tables/slices.csv.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from baton.evaluate.inputs import Rows
from baton.evaluate.row_groups import Group
from baton.evaluate.task_reports import TaskReports

# The columns that `preprocess` itself writes, besides that of the targets.
OWN = {"id", "text", "text_pair", "weight", "name", "image", "audio", "digest"}
MOST_VALUES = 50  # per column, the most frequent; the rest form one slice
REST = "(all others)"


def columns(figure: str, named: str = "column") -> list[str]:
    """Return the columns of the table of a figure; the first one is called `named`."""
    return [named, "value", "rows", "model", figure, f"{figure}_low", f"{figure}_high"]


def read(clean: Path, targets: str) -> dict[str, list[str]]:
    """Return the kept columns of the test rows, name -> values (n); `targets` is the column of targets."""
    import pyarrow.parquet as pq

    path = clean / "test.parquet"
    names = [name for name in pq.read_schema(path).names if name not in OWN | {targets}]
    table = pq.read_table(path, columns=names)
    return {name: table[name].to_pylist() for name in names}


def table(
    task: TaskReports,
    kept: Mapping[str, Sequence[str]],
    test: Rows,
    outputs: Mapping[str, Any],
    confidence: float,
) -> list[list[object]]:
    """Return rows of `columns`.

    Each column's values come by frequency, and for each value every model.

    Args:
        task: what the models predict.
        kept: column -> values of the test rows (n).
        test: the rows.
        outputs: model -> its answers on them.
        confidence: of the intervals.
    """
    groups = {column: frequent(values) for column, values in kept.items()}
    return of_groups(task, groups, test, outputs, confidence)


def of_groups(
    task: TaskReports,
    groups: Mapping[str, Group],
    test: Rows,
    outputs: Mapping[str, Any],
    confidence: float,
) -> list[list[object]]:
    """Return the same rows for `groups` whose values are in order."""
    rows: list[list[object]] = []
    for name, group in groups.items():
        shown = np.array(group.values, dtype=object)
        for value in group.order:
            own = shown == value
            for model, one in outputs.items():
                found = task.of_rows(test.targets, one, own, confidence)
                rows.append([name, value, int(own.sum()), model, *found])
    return rows


def frequent(values: Sequence[str]) -> Group:
    """Return the most frequent values, and one for all others."""
    counts = Counter(values)
    order = [value for value, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:MOST_VALUES]]
    named = set(order)
    shown = [value if value in named else REST for value in values]
    return Group(shown, order + [REST] * (len(counts) > MOST_VALUES))
