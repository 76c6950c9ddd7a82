"""The list of labels that are probably wrong: a table for people to edit and to bring back.

Inputs: clean tables, a ranking -> a CSV file that params `corrections` may name, see `contracts.corrections`.
Labels that people have filled in before are kept, and come first.
"""

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq

from baton import storage
from baton.contracts import text_pairs
from baton.contracts.corrections import CONTENT, ID, LABEL, content
from baton.contracts.csv_cells import safe
from baton.errors import DataError
from baton.labelling.ranking import Ranked
from baton.tables import corrections
from baton.tables.corrections import Correction

MOST = 1_000  # characters of a text
FILE, TEXT = "file", "text"
BETWEEN = (LABEL, "given", "suggested", "given_probability", "suggested_probability", "likely_error", "split")
COLUMNS = frozenset({ID, *BETWEEN, FILE, TEXT, CONTENT})


class Listed(NamedTuple):
    """A row of a clean table, as people see it."""

    id: str
    split: str
    label: int  # index of the class
    shown: dict[str, str]  # FILE and TEXT, those that it has
    content: str


def rows(clean: Path, splits: Iterable[str]) -> list[Listed]:
    """Return the rows of these splits from the folder of clean tables, in their order.

    Raises:
        DataError: A table is missing.
    """
    return [row for split in splits for row in _rows(clean / f"{split}.parquet", split)]


def _rows(path: Path, split: str) -> list[Listed]:
    if not path.is_file():
        hint = "run `dvc repro tokenize`"
        raise DataError(f"{path} is missing", expected="a table written by `preprocess`", hint=hint)
    names = pq.read_schema(path).names
    wanted = [name for name in ("id", "label", "name", "digest", "text", text_pairs.COLUMN) if name in names]
    table = pq.read_table(path, columns=wanted).to_pydict()
    ids, labels = table["id"], table["label"]
    texts = text_pairs.wholes(table["text"], table.get(text_pairs.COLUMN)) if "text" in table else None
    seen = {FILE: table.get("name"), TEXT: None if texts is None else [*map(excerpt, texts)]}
    shown = {name: column for name, column in seen.items() if column is not None}
    told = table.get("digest") or texts or []
    return [
        Listed(id_, split, label, {name: column[place] for name, column in shown.items()}, content(own))
        for place, (id_, label, own) in enumerate(zip(ids, labels, told, strict=True))
    ]


def is_list(path: Path) -> bool:
    """Return whether a file has the columns of the list, whatever program has saved it since."""
    if not path.is_file():
        return False
    return {ID, *BETWEEN, CONTENT} <= set(corrections.columns_of(path))


def excerpt(text: str) -> str:
    """Return the beginning of a text in one line."""
    line = " ".join(text.split())
    return line if len(line) <= MOST else f"{line[: MOST - 1]}…"


def write(
    path: Path,
    listed: Sequence[Listed],
    ranked: Ranked,
    probabilities: np.ndarray,
    names: Sequence[str],
    decided: Mapping[str, Correction],
    most: int | None,
) -> int:
    """Write the decided rows, then the first `most` others; None: those that are probably wrong.

    `listed`, `ranked` and `probabilities` (rows, classes) are of the same rows; `names` are those of the
    classes. Returns how many undecided rows were written.

    Raises:
        OutputError: The file cannot be written.
    """
    places = {row.id: place for place, row in enumerate(listed)}
    open_ = [place for place in ranked.order if listed[place].id not in decided]
    open_ = [place for place in open_ if ranked.wrong[place]] if most is None else open_[:most]
    shown = [*listed[0].shown] if listed else []
    with (
        storage.atomic_file(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8-sig") as file,
    ):
        writer = csv.DictWriter(file, [ID, *BETWEEN, *shown, CONTENT], restval="", lineterminator="\n")
        writer.writeheader()
        for id_, own in decided.items():
            place = places.get(id_)
            cells = {} if place is None else _cells(listed[place], place, ranked, probabilities, names)
            writer.writerow(cells | {ID: id_, LABEL: safe(own.label), CONTENT: own.content})
        writer.writerows(_cells(listed[place], place, ranked, probabilities, names) for place in open_)
    return len(open_)


def _cells(
    row: Listed, place: int, ranked: Ranked, probabilities: np.ndarray, names: Sequence[str]
) -> dict[str, object]:
    suggested = ranked.suggested[place]
    return {
        ID: row.id,
        "given": safe(names[row.label]),
        "suggested": safe(names[suggested]),
        "given_probability": f"{ranked.scores[place]:.4f}",
        "suggested_probability": f"{probabilities[place, suggested]:.4f}",
        "likely_error": "yes" if ranked.wrong[place] else "no",
        "split": row.split,
        CONTENT: row.content,
        **{name: safe(cell) for name, cell in row.shown.items()},
    }
