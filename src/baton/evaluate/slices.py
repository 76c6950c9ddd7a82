"""Accuracy by the values of the columns that `preprocess.keep_columns` kept.

It shows for which rows a model is better or worse.

Input: data/clean/test.parquet -> rows of reports/tables/slices.csv.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from baton.evaluate.baselines import Outputs
from baton.evaluate.inputs import Rows
from baton.evaluate.proportions import wilson

COLUMNS = ("column", "value", "rows", "model", "accuracy", "accuracy_low", "accuracy_high")
OWN = {
    "id",
    "text",
    "label",
    "weight",
    "name",
    "image",
    "digest",
}  # the columns that `preprocess` itself writes
MOST_VALUES = 50  # per column, the most frequent; the rest form one slice
REST = "(all others)"


def read(clean: Path) -> dict[str, list[str]]:
    """Return the kept columns of the test rows, name -> values (n)."""
    import pyarrow.parquet as pq

    path = clean / "test.parquet"
    names = [name for name in pq.read_schema(path).names if name not in OWN]
    table = pq.read_table(path, columns=names)
    return {name: table[name].to_pylist() for name in names}


def table(
    kept: Mapping[str, Sequence[str]], test: Rows, outputs: Mapping[str, Outputs], confidence: float
) -> list[list[object]]:
    """Return rows of COLUMNS, with Wilson's interval.

    Each column's values come by frequency, and for each value every model.

    Args:
        kept: column -> values of the test rows (n).
        test: the rows.
        outputs: model -> its answers on them.
        confidence: of the intervals.
    """
    rows: list[list[object]] = []
    for column, values in kept.items():
        counts = Counter(values)
        frequent = [
            value for value, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:MOST_VALUES]
        ]
        named = set(frequent)
        shown = np.array([value if value in named else REST for value in values], dtype=object)
        for value in frequent + [REST] * (len(counts) > MOST_VALUES):
            own = shown == value
            for model, one in outputs.items():
                hits, count = int((one.predicted == test.labels)[own].sum()), int(own.sum())
                low, high = wilson(hits, count, confidence)
                rows.append([column, value, count, model, hits / count, float(low), float(high)])
    return rows
