"""Corrected labels reach the clean tables, and change nothing else."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from baton import params
from baton.contracts.corrections import content
from baton.errors import DataError
from baton.labelling import listing
from baton.tables import clean
from tests.data_fixtures import CLASSES
from tests.tables import test_image_rows
from tests.tables.test_clean import RAW, TARGET, ids, read, texts, write_raw

Settings = Callable[..., params.TextPreprocess]
ROWS = texts("train", pos=30, neg=20)  # train:1 to train:30 are pos


@pytest.fixture
def raw(workplace: Path) -> Path:
    write_raw(train=ROWS, test=texts("test", neg=5, pos=5))
    return RAW


def correct(table: str, name: str = "corrections.csv") -> None:
    """Add a file of corrections to data/raw."""
    (RAW / name).write_text(table, encoding="utf-8")
    manifest = json.loads((RAW / "manifest.json").read_text())
    manifest["files"]["corrections"] = {"path": name}
    (RAW / "manifest.json").write_text(json.dumps(manifest))


def applied(settings: params.TextPreprocess) -> dict[str, Any]:
    return clean.clean(RAW, TARGET, settings, CLASSES, corrects=True)


def tables() -> dict[str, dict[str, Any]]:
    return {row["id"]: row | {"split": split} for split in clean.SPLITS for row in read(split)}


def test_only_the_labels_change(raw: Path, settings: Settings) -> None:
    clean.clean(RAW, TARGET, settings(), CLASSES)
    before = tables()
    correct("id,label\ntrain:1,neg\ntrain:2,pos\ntrain:3,\ntest:1,pos\n")
    report = applied(settings())
    after = tables()
    different = {id_: row for id_, row in after.items() if row != before[id_]}
    assert set(different) == {"train:1", "test:1"}
    assert [row["label"] for row in different.values()].count(0) == 1  # neg, of train:1
    assert [*after] == [*before]
    assert report["rows"]["clean"] == {"train": 40, "val": 10, "test": 10}
    split = before["train:1"]["split"]
    assert report["corrections"] == {
        "rows": 4,
        "undecided": 1,
        "not_in_use": 0,
        "confirmed": 1,
        "changed": {"train": 0, "val": 0, "test": 1} | {split: 1},
        "labels": {"train": {}, "val": {}, "test": {}}
        | {split: {"train:1": {"given": "pos", "label": "neg"}}}
        | {"test": {"test:1": {"given": "neg", "label": "pos"}}},
    }
    assert report["classes"]["pos"]["test"] == 6
    said = "\n".join(report["notes"])
    assert "2 labels changed" in said and "1 labels of test changed" in said


def test_no_row_moves_to_another_split_if_all_are_cut(workplace: Path, settings: Settings) -> None:
    write_raw(train=ROWS)
    clean.clean(RAW, TARGET, settings(), CLASSES)
    before = {split: ids(split) for split in clean.SPLITS}
    correct("id,label\n" + "".join(f"train:{number},neg\n" for number in range(1, 12)))
    report = applied(settings())
    assert {split: ids(split) for split in clean.SPLITS} == before
    assert sum(report["corrections"]["changed"].values()) == 11


def test_a_task_without_corrections_of_its_own_ignores_the_file(raw: Path, settings: Settings) -> None:
    correct("id,label\nnonsense,none\n")
    assert "corrections" not in clean.clean(RAW, TARGET, settings(), CLASSES)


def test_without_a_file_nothing_is_said(raw: Path, settings: Settings) -> None:
    assert "corrections" not in applied(settings())


def test_spreadsheets_and_other_tables_are_read(raw: Path, settings: Settings) -> None:
    correct('\ufeffid;label;text\ntrain:1; neg ;"a, b; c"\n')
    assert applied(settings())["corrections"]["rows"] == 1
    correct('{"id": "train:1", "label": "neg"}\n{"id": "train:2", "label": null}\n', "corrections.jsonl")
    assert applied(settings())["corrections"]["undecided"] == 1


def test_names_of_label_names_are_the_classes(raw: Path, settings: Settings) -> None:
    correct("id,label\ntrain:1,bad\n")
    report = applied(settings(label_names={"neg": "bad", "pos": "good"}))
    assert sum(report["corrections"]["changed"].values()) == 1


def test_rows_that_no_split_has_are_counted(workplace: Path, settings: Settings) -> None:
    write_raw(train=[*ROWS, ROWS[0]], test=texts("test", neg=5, pos=5))
    correct("id,label\ntrain:51,neg\n")
    report = applied(settings({"duplicate": "drop"}))
    assert report["corrections"]["not_in_use"] == 1
    assert not any(report["corrections"]["changed"].values())


FAULTS = [
    ("id,label\ntrain:51,neg\n", "1 ids that the data does not have: train:51"),
    ("id,label\ntrain:0,neg\nspam,neg\n", "2 ids that the data does not have: train:0; spam"),
    ("id,label\ntrain:01,neg\n", "1 ids that the data does not have: train:01"),
    ("id,label\ntrain:1,negative\n", "none of the classes ('neg', 'pos'): train:1: 'negative'"),
    ("id,label\ntrain:1,neg\ntrain:1,pos\n", "train:1 is 'pos' here and 'neg' in an earlier row"),
    ("id,label\n,neg\n", "no id"),
    ("id,class\ntrain:1,neg\n", "no column 'label'"),
    ("id,label,content\ntrain:1,neg,sha256:0\n", "rows that are others than when they were listed"),
    ("", "is empty"),
]


@pytest.mark.parametrize(("table", "said"), FAULTS, ids=[said for _, said in FAULTS])
def test_what_cannot_be_applied_is_one_error(raw: Path, settings: Settings, table: str, said: str) -> None:
    correct(table)
    with pytest.raises(DataError) as caught:
        applied(settings())
    message = str(caught.value)
    assert said in message and "corrections.csv" in message
    assert all(part in message for part in ("got:", "expected:", "next:"))
    assert not TARGET.exists()


def test_a_list_without_rows_changes_nothing(raw: Path, settings: Settings) -> None:
    """`baton label-errors` writes one where no label is probably wrong."""
    clean.clean(RAW, TARGET, settings(), CLASSES)
    before = tables()
    correct("id,label\n")
    report = applied(settings())
    assert tables() == before
    assert report["corrections"]["rows"] == 0


def test_content_tells_whether_an_id_is_the_same_row(raw: Path, settings: Settings) -> None:
    right = content(ROWS[0][0])
    correct(f"id,label,content\ntrain:1,neg,{right}\n")
    assert sum(applied(settings())["corrections"]["changed"].values()) == 1
    write_raw(train=[("a new first row", "pos"), *ROWS], test=texts("test", neg=5, pos=5))
    correct(f"id,label,content\ntrain:1,neg,{right}\ntrain:2,neg,{right}\n")
    with pytest.raises(DataError, match=r"1 rows that are others .*: train:1"):
        applied(settings())


def test_a_class_must_keep_a_row(raw: Path, settings: Settings) -> None:
    correct("id,label\n" + "".join(f"train:{number},pos\n" for number in range(31, 51)))
    with pytest.raises(DataError, match="leave classes without any row"):
        applied(settings())


def test_an_error_leaves_no_partial_output(raw: Path, settings: Settings) -> None:
    correct("id,label\ntrain:1,other\n")
    with pytest.raises(DataError):
        applied(settings())
    assert {path.name for path in Path("data").iterdir()} == {"raw"}


def test_labels_of_images_are_corrected_by_the_list_of_their_table(
    workplace: Path, image_settings: Callable[..., params.ImagePreprocess]
) -> None:
    test_image_rows.write_raw(train=test_image_rows.many("train", 0, cat=8, dog=8))
    wanted = image_settings()
    clean.clean(RAW, TARGET, wanted, CLASSES)
    before = tables()
    first = listing.rows(TARGET, ("train",))[0]
    other = "dog" if first.label == 0 else "cat"
    correct(f"id,label,content\n{first.id},{other},{first.content}\n")
    clean.clean(RAW, TARGET, wanted, CLASSES, corrects=True)
    after = tables()
    assert {id_ for id_, row in after.items() if row != before[id_]} == {first.id}
    assert after[first.id]["image"] == before[first.id]["image"]
    correct(f"id,label,content\n{first.id},{other},sha256:0\n")
    with pytest.raises(DataError, match="rows that are others"):
        clean.clean(RAW, TARGET, wanted, CLASSES, corrects=True)
