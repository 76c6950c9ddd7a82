"""The list has what people need to decide, and survives a spreadsheet."""

import csv
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from baton.contracts.corrections import content
from baton.errors import DataError
from baton.labelling import listing
from baton.labelling.ranking import Ranked
from baton.tables import corrections
from baton.tables.corrections import Correction

NAMES = ("neg", "pos")
PROBABILITIES = np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4]])
RANKED = Ranked(
    np.array([0, 2, 1]),
    np.array([True, False, False, False]),
    PROBABILITIES[:, 0],
    PROBABILITIES.argmax(axis=1),
)


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    for split, rows in (("train", ["=1+1", "b", 'c, "d"\n\u00fc']), ("val", ["e" * 2000])):
        ids = [f"{split}:{number}" for number in range(1, len(rows) + 1)]
        table = {"id": ids, "text": rows, "label": pa.array([0] * len(rows), pa.int32())}
        pq.write_table(pa.table(table), tmp_path / f"{split}.parquet")
    return tmp_path


def written(
    clean: Path, most: int | None, decided: dict[str, Correction] | None = None
) -> list[dict[str, str]]:
    rows = listing.rows(clean, ("train", "val"))
    path = clean / "list.csv"
    count = listing.write(path, rows, RANKED, PROBABILITIES, NAMES, decided or {}, most)
    with path.open(encoding="utf-8-sig", newline="") as file:
        found = [*csv.DictReader(file)]
    assert count == len(found) - len(decided or {})
    assert listing.is_list(path)
    return found


def test_probably_wrong_rows_are_listed_with_empty_labels(clean: Path) -> None:
    assert written(clean, None) == [
        {
            "id": "train:1",
            "label": "",
            "given": "neg",
            "suggested": "pos",
            "given_probability": "0.1000",
            "suggested_probability": "0.9000",
            "likely_error": "yes",
            "split": "train",
            "text": "'=1+1",
            "content": content("=1+1"),
        }
    ]


def test_the_most_suspicious_rows_are_listed_in_order(clean: Path) -> None:
    found = written(clean, 3)
    assert [row["id"] for row in found] == ["train:1", "train:3", "train:2"]
    assert found[1]["text"] == 'c, "d" \u00fc'
    assert [row["likely_error"] for row in found] == ["yes", "no", "no"]


def test_long_texts_are_cut_but_their_content_is_whole(clean: Path) -> None:
    row = listing.rows(clean, ("val",))[0]
    assert len(row.shown["text"]) == listing.MOST and row.content == content("e" * 2000)


def test_decisions_are_kept_also_of_rows_that_are_not_listed(clean: Path) -> None:
    decided = {"test:9": Correction("pos", "sha256:1"), "train:1": Correction("neg", content("=1+1"))}
    found = written(clean, 2, decided)
    assert [(row["id"], row["label"]) for row in found] == [
        ("test:9", "pos"),
        ("train:1", "neg"),
        ("train:3", ""),
        ("train:2", ""),
    ]
    assert found[0]["content"] == "sha256:1" and found[0]["given"] == ""
    assert found[1]["suggested"] == "pos"


def test_preprocess_reads_the_list_as_a_spreadsheet_saves_it(clean: Path) -> None:
    written(clean, 3)
    path = clean / "list.csv"
    with path.open(encoding="utf-8-sig", newline="") as file:
        table = [*csv.reader(file)]
    table[1][1] = "pos"
    with path.open("w", encoding="windows-1252", newline="") as file:
        csv.writer(file, delimiter=";").writerows(table)
    assert listing.is_list(path)
    found = corrections.read(path)
    assert {id_: own.label for id_, own in found.items()} == {"train:1": "pos", "train:3": "", "train:2": ""}
    assert found["train:1"].content == content("=1+1")


def test_other_tables_are_no_lists(clean: Path) -> None:
    (clean / "data.csv").write_text("id,label,text\n1,pos,a\n")
    assert not listing.is_list(clean / "data.csv")


def test_rows_of_images_have_their_file(tmp_path: Path) -> None:
    table = {"id": ["train:1"], "name": ["cats/1.png"], "image": [b""], "digest": ["ab"], "label": [0]}
    pq.write_table(pa.table(table), tmp_path / "train.parquet")
    assert listing.rows(tmp_path, ("train",)) == [
        listing.Listed("train:1", "train", 0, {"file": "cats/1.png"}, content("ab"))
    ]


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="dvc repro tokenize"):
        listing.rows(tmp_path, ("train",))


@pytest.mark.parametrize("name", ["=1+1", "'=1+1", "-x", "@SUM(A1)"])
def test_a_class_named_like_a_formula_survives_the_list(
    clean: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Decided labels were written as they are: `=HYPERLINK(…)` was live in the list."""
    monkeypatch.setattr(f"{__name__}.NAMES", (name, "pos"))
    found = written(clean, 0, {"train:1": Correction(name, "")})
    assert not [cell for row in found for cell in row.values() if cell.startswith(("=", "-x", "@"))]
    assert corrections.read(clean / "list.csv")["train:1"].label == name


def test_a_table_of_somebody_else_is_read_as_it_is(clean: Path) -> None:
    (clean / "own.csv").write_text("id,label\ntrain:1,'=1\n", encoding="utf-8")
    assert corrections.read(clean / "own.csv")["train:1"].label == "'=1"
