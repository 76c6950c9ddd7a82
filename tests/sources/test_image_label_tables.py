"""Tables of images whose records have any number of labels: an empty label is none, a missing one unknown."""

import json
from pathlib import Path
from typing import Any

import pytest

from baton import params
from baton.sources import fetching
from baton.tables import image_rows
from baton.tables.class_cells import ClassCells
from baton.tables.label_cells import LabelCells
from tests.image_files import noise, put, saved

RAW = Path("data/raw")


def read(labels: list[dict[str, Any]], cells: Any, settings: Any) -> image_rows.ImageTable:
    """Return the rows of a JSON Lines table of images with these records' labels."""
    records = []
    for number, own in enumerate(labels):
        put(f"inbox/pictures/{number}.png", saved(noise(number)))
        records.append(json.dumps({"file": f"{number}.png"} | own))
    put("inbox/table.jsonl", "\n".join(records).encode())
    source = params.TableSource(
        kind="table",
        content="images",
        folder="inbox/pictures",
        files=params.Files(train="inbox/table.jsonl"),
        format=params.JsonLinesFormat(kind="jsonl", encoding="auto"),
        path_column="file",
        label_column="labels",
        licence="mine",
    )
    fetching.fetch_source(source, RAW)
    return image_rows.read(RAW / "train.parquet", "train", settings, read_label=cells.read)


@pytest.mark.parametrize("separator", ["|", None])
def test_a_record_without_the_key_is_not_one_without_labels(
    workplace: Path, image_settings: Any, separator: str | None
) -> None:
    two, none = ("cat|dog", "") if separator else (["cat", "dog"], [])
    records: list[dict[str, Any]] = [{"labels": two}, {"labels": none}, {}, {"labels": None}]
    table = read(records, LabelCells(separator), image_settings())
    assert [row.label for row in table.rows] == ['["cat", "dog"]', "[]", "", ""]
    assert table.unlabelled == {"train:4"}, "as in tables of texts: a null is not lost, a missing key is"
    assert not table.malformed


def test_a_record_without_the_key_has_no_class_and_counts_as_lost(
    workplace: Path, image_settings: Any
) -> None:
    table = read([{"labels": "cat"}, {"labels": ""}, {}, {"labels": None}], ClassCells(), image_settings())
    assert [row.label for row in table.rows] == ["cat", "", "", ""]
    assert table.unlabelled == {"train:4"}
