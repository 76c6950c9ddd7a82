"""Rows of novel classes are in no split but their own, and their texts are nowhere else."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from baton import params
from baton.contracts import novel_classes
from baton.contracts.task_spec import Classes
from baton.tables import clean
from tests.data_fixtures import CLASSES
from tests.tables.test_clean import RAW, TARGET, ids, read, refused, texts, write_raw

Settings = Callable[..., params.TextPreprocess]
NOVEL = {"validation": ["b", "a"], "test": ["zoo", "yak"]}
USUAL = {"pos": 20, "neg": 20}


def written(settings: params.TextPreprocess) -> dict[str, Any]:
    return clean.clean(RAW, TARGET, settings, CLASSES)


def test_rows_of_all_files_go_to_the_splits_of_their_classes(workplace: Path, settings: Settings) -> None:
    write_raw(
        train=texts("train", **USUAL, a=3, b=2, zoo=4), test=texts("test", pos=3, neg=3, a=1, zoo=1, yak=6)
    )
    report = written(settings(novel=NOVEL))
    rows = {split: read(split) for split in (*clean.SPLITS, *novel_classes.SPLITS.values())}
    assert {split: len(own) for split, own in rows.items()} == {
        "train": 32,
        "val": 8,
        "test": 6,
        "novel_validation": 6,
        "novel_test": 11,
    }
    assert novel_classes.read(TARGET) == {
        "novel_validation": Classes(("a", "b")),
        "novel_test": Classes(("yak", "zoo")),
    }
    for split, task in novel_classes.read(TARGET).items():
        for row in rows[split]:
            assert row["text"].split()[1] == task.names[row["label"]]
    assert report["classes"].keys() == {"pos", "neg"}
    assert report["novel"]["novel_test"]["classes"] == {"yak": 6, "zoo": 5}
    assert sum(map(len, rows.values())) == sum(report["rows"]["raw"].values())
    assert ids("novel_test")[:4] == [f"train:{number}" for number in range(46, 50)]


def test_the_usual_splits_are_those_without_these_rows(workplace: Path, settings: Settings) -> None:
    write_raw(train=texts("train", **USUAL), test=texts("test", pos=3, neg=3))
    written(settings())
    alone = {split: (TARGET / f"{split}.parquet").read_bytes() for split in clean.SPLITS}
    write_raw(
        train=texts("train", **USUAL) + texts("train", a=3, b=3, zoo=1),
        test=texts("test", pos=3, neg=3) + texts("test", yak=2),
    )
    written(settings(novel=NOVEL, validation={"kind": "count", "count": 8}))
    assert {split: (TARGET / f"{split}.parquet").read_bytes() for split in clean.SPLITS} == alone
    assert not novel_classes.read(Path("data/raw"))
    written(settings())  # the control
    assert (TARGET / "train.parquet").read_bytes() != alone["train"]


def test_a_text_of_another_class_is_not_that_of_a_novel_class(workplace: Path, settings: Settings) -> None:
    """A model could have learnt it; a text of both splits stays where nothing is chosen."""
    write_raw(
        train=[
            *texts("train", **USUAL, a=2, b=2, zoo=2, yak=2),
            ("Train pos 3", "zoo"),
            ("train zoo 1", "a"),
        ],
        test=[*texts("test", pos=3, neg=3), ("test pos 1", "yak")],
    )
    report = written(settings({"leakage": "drop"}, novel=NOVEL))
    found = report["checks"]["novel_leakage"]
    assert found["reasons"] == {
        "train:49": "the same text as train:4",
        "train:50": "the same text as train:46",
        "test:7": "the same text as test:2",
    }
    assert found["dropped_rows"] == list(found["reasons"])
    assert not {"train:49", "train:50", "test:7"} & {*ids("novel_validation"), *ids("novel_test")}
    kept = written(settings({"leakage": "keep"}, novel=NOVEL))
    assert kept["checks"]["novel_leakage"]["dropped_rows"] == []
    assert "train:49" in ids("novel_test")
    message = refused_with(settings({"leakage": "fail"}, novel=NOVEL))
    assert "novel_leakage: 3 rows: train:49" in message


def refused_with(own: params.TextPreprocess) -> str:
    shutil.rmtree(TARGET)
    return refused(own)


def test_near_duplicates_in_train_are_listed(workplace: Path, settings: Settings) -> None:
    long = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen"
    write_raw(
        train=[*texts("train", **USUAL, a=2, b=2, zoo=2, yak=2), (long, "pos"), (f"{long} more", "zoo")],
        test=texts("test", pos=3, neg=3),
    )
    report = written(settings(novel=NOVEL))
    assert report["novel"]["novel_test"]["near_training"] == ["train:50"]
    assert report["novel"]["novel_validation"]["near_training"] == []


def test_small_and_unseen_novel_classes_need_not_be_cut(workplace: Path, settings: Settings) -> None:
    write_raw(train=texts("train", **USUAL, a=1, b=1), test=texts("test", pos=3, neg=3, zoo=1, yak=1))
    written(settings({"small_class": "fail", "unseen_label": "fail"}, novel=NOVEL))
    assert ids("novel_validation") == ["train:41", "train:42"]
    assert "unseen_label" in refused_with(
        settings({"unseen_label": "fail"}, novel={"validation": ["a", "b"], "test": []})
    )


def test_labels_that_no_row_has_are_named(workplace: Path, settings: Settings) -> None:
    write_raw(train=texts("train", **USUAL, yak=2), test=texts("test", pos=3, neg=3))
    message = refused(settings(novel={"validation": [], "test": ["yaks", "yak"]}))
    assert "preprocess.novel names classes that no row has" in message
    assert "'yaks'" in message and "write 'yak'" in message


def test_classes_are_named_as_label_names_says(workplace: Path, settings: Settings) -> None:
    write_raw(train=texts("train", **USUAL, a=2, b=2), test=texts("test", pos=3, neg=3))
    named = {"pos": "good", "neg": "bad", "a": "first", "b": "second"}
    written(settings(label_names=named, novel={"validation": [], "test": ["first", "second"]}))
    assert novel_classes.read(TARGET) == {"novel_test": Classes(("first", "second"))}


def test_a_single_class_that_is_left_is_refused(workplace: Path, settings: Settings) -> None:
    write_raw(train=texts("train", pos=20, a=5, b=5), test=texts("test", pos=3))
    message = refused(settings(novel={"validation": [], "test": ["a", "b"]}))
    assert "single class" in message


def test_weights_and_kept_columns_come_along(workplace: Path, settings: Settings) -> None:
    rows = [(*row, "x") for row in texts("train", **USUAL, a=2, b=2)]
    body = "text,label,source\n" + "".join(f"{text},{label},{kept}\n" for text, label, kept in rows)
    write_raw(train=body.encode(), test=body.replace("train", "test").encode())
    written(settings(keep_columns=["source"], novel={"validation": [], "test": ["a", "b"]}))
    assert pq.read_schema(TARGET / "novel_test.parquet").names == ["id", "text", "label", "source"]
    assert len(read("novel_test")) == 8


@pytest.mark.parametrize("kind", ["test", "validation"])
def test_one_split_alone(workplace: Path, settings: Settings, kind: str) -> None:
    write_raw(train=texts("train", **USUAL, a=2, b=2), test=texts("test", pos=3, neg=3))
    written(settings(novel={"validation": [], "test": []} | {kind: ["a", "b"]}))
    assert [*novel_classes.read(TARGET)] == [f"novel_{kind}"]
