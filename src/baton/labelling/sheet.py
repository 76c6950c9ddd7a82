"""The CSV file of rows to label.

Input: rows of data/clean/unlabelled.parquet -> a file with id, the text or both texts of a pair, and an empty
column for the label.
"""

import csv
from collections.abc import Sequence
from pathlib import Path

from baton import params, storage
from baton.contracts import text_pairs
from baton.contracts.csv_cells import safe
from baton.errors import OutputError


def columns(settings: params.TextPreprocess, pair: bool) -> list[str]:
    """Return the columns, named as those of the source, so that the rows can be appended to it."""
    text = settings.text_column if isinstance(settings.text_column, str) else "text"
    label = settings.label_column if isinstance(settings.label_column, str) else "label"
    return ["id", text, *([settings.text_pair_column or text_pairs.COLUMN] if pair else []), label]


def check(target: Path) -> None:
    """Refuse a file that exists: it may have labels.

    Raises:
        OutputError: it does.
    """
    if target.exists():
        raise OutputError(
            f"{target} was not overwritten",
            got="a file, which may have labels",
            expected="no such file",
            hint="bring its labels in first and remove it, or name another with --out (docs/labels.md)",
        )


def write(target: Path, header: Sequence[str], table: Path, ids: Sequence[str]) -> None:
    """Write the rows of `table` with these ids, in this order."""
    import pyarrow.parquet as pq

    read = pq.read_table(table, columns=["id", *text_pairs.columns(table)])
    names, *texts = (read[name].to_pylist() for name in read.column_names)
    known = dict(zip(names, zip(*texts, strict=True), strict=True))
    with (
        storage.atomic_file(target) as temporary,
        temporary.open("w", newline="", encoding="utf-8-sig") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(map(safe, header))
        writer.writerows([id_, *map(safe, known[id_]), ""] for id_ in ids)
