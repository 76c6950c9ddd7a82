"""Tests from a raw folder to clean tables and the report."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from baton import params
from baton.errors import DataError, OutputError
from baton.tables import clean
from tests.data_fixtures import CLASSES

Settings = Callable[..., params.TextPreprocess]
RAW, TARGET = Path("data/raw"), Path("data/clean")


def write_raw(**files: bytes | list[tuple[str, str]]) -> None:
    """Write CSV files, from bytes or (text, label) rows, and the manifest."""
    RAW.mkdir(parents=True, exist_ok=True)
    for split, content in files.items():
        body = (
            content
            if isinstance(content, bytes)
            else b"text,label\n" + b"".join(f'"{text}",{label}\n'.encode() for text, label in content)
        )
        (RAW / f"{split}.csv").write_bytes(body)
    (RAW / "manifest.json").write_text(
        json.dumps({"files": {split: {"path": f"{split}.csv"} for split in files}})
    )


def texts(name: str, **counts: int) -> list[tuple[str, str]]:
    return [(f"{name} {label} {number}", label) for label, count in counts.items() for number in range(count)]


def read(split: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(TARGET / f"{split}.parquet").to_pylist()
    return rows


def ids(split: str) -> list[str]:
    return [row["id"] for row in read(split)]


def refused(settings: params.TextPreprocess) -> str:
    with pytest.raises(DataError) as caught:
        clean.clean(RAW, TARGET, settings, CLASSES)
    assert {path.name for path in Path("data").iterdir()} == {"raw"}, "no partial output"
    message = str(caught.value)
    assert all(part in message for part in ("got:", "expected:", "next:"))
    return message


def test_validation_is_cut_from_train_and_test_stays_as_it_is(workplace: Path, settings: Settings) -> None:
    write_raw(train=texts("train", pos=30, neg=20), test=texts("test", neg=5, pos=5))
    report = clean.clean(RAW, TARGET, settings(), CLASSES)
    assert report["rows"] == {"raw": {"train": 50, "test": 10}, "clean": {"train": 40, "val": 10, "test": 10}}
    assert report["classes"] == {
        "neg": {"train": 16, "val": 4, "test": 5},
        "pos": {"train": 24, "val": 6, "test": 5},
    }
    assert json.loads((TARGET / "task.json").read_text()) == {"kind": "classes", "names": ["neg", "pos"]}
    assert ids("test") == [f"test:{number}" for number in range(1, 11)]
    assert sorted(ids("train") + ids("val")) == sorted(f"train:{number}" for number in range(1, 51))
    for split in clean.SPLITS:
        assert all(row["text"].split()[1] == ["neg", "pos"][row["label"]] for row in read(split))
    assert pq.read_schema(TARGET / "train.parquet").types == ["string", "string", "int32"]


def test_own_validation_and_cut_test(workplace: Path, settings: Settings) -> None:
    write_raw(train=texts("train", pos=30, neg=20), val=texts("val", pos=3, neg=3))
    report = clean.clean(RAW, TARGET, settings(test={"kind": "count", "count": 5}), CLASSES)
    assert report["rows"]["clean"] == {"train": 45, "val": 6, "test": 5}
    assert all(id_.startswith("train:") for id_ in ids("test"))
    assert set(ids("val")) == {f"val:{number}" for number in range(1, 7)}


def test_one_file_is_cut_into_three(workplace: Path, settings: Settings) -> None:
    write_raw(train=texts("all", a=3, b=40))
    report = clean.clean(RAW, TARGET, settings(), CLASSES)
    assert report["rows"]["clean"] == {"train": 27, "val": 7, "test": 9}
    assert report["classes"]["a"] == {"train": 1, "val": 1, "test": 1}
    assert report["checks"]["drift"] == {"policy": "keep", "found": False}


def test_a_cut_test_leaves_enough_to_cut_validation(workplace: Path, settings: Settings) -> None:
    write_raw(train=texts("all", a=3, b=40))
    report = clean.clean(
        RAW,
        TARGET,
        settings(test={"kind": "count", "count": 39}, validation={"kind": "count", "count": 2}),
        CLASSES,
    )
    assert report["classes"]["a"] == {"train": 1, "val": 1, "test": 1}


def test_a_rerun_gives_the_same_bytes(workplace: Path, settings: Settings) -> None:
    write_raw(
        train=[*texts("train", pos=30, neg=20), ("train pos 1", "neg"), ("train pos 1", "pos")],
        test=texts("test", neg=5, pos=9),
    )
    wanted = settings({"duplicate": "drop"}, limit={"train": 40, "test": 8})
    clean.clean(RAW, TARGET, wanted, CLASSES)
    first = {path.name: path.read_bytes() for path in TARGET.iterdir()}
    clean.clean(RAW, TARGET, wanted, CLASSES)
    assert {path.name: path.read_bytes() for path in TARGET.iterdir()} == first
    clean.clean(RAW, TARGET, wanted.model_copy(update={"seed": 1}), CLASSES)
    assert (TARGET / "train.parquet").read_bytes() != first["train.parquet"], "the seed matters"


DIRTY = [
    b"text,label",
    *(
        f"{label} {number},{label}".encode() for label in ("neg", "pos") for number in range(10)
    ),  # rows 1 to 20
    b"only one field",  # 21
    b"caf\xe9,pos",  # 22
    b"no label,",  # 23
    b"   ,pos",  # 24
    "schÃ¶n,pos".encode(),  # 25
    b"pos 1,neg",  # 26: conflict with 12
    b"pos 2,pos",  # 27: duplicate of 13
    b"Secret,pos",  # 28: leaks test:3
]
TEST = b"text,label\nx,neg\ny,pos\nsecret,pos\n,pos\n\xff,neg\ny,pos\n"
FOUND = {
    "malformed": ["train:21"],
    "invalid_utf8": ["train:22", "test:5"],
    "missing_label": ["train:23"],
    "empty": ["train:24", "test:4"],
    "mojibake": ["train:25"],
    "conflict": ["train:12", "train:26"],
    "duplicate": ["train:27", "test:6"],
    "leakage": ["train:28"],
    "small_class": [],
    "unseen_label": [],
}


def test_drop_names_and_drops_each_defect_and_keeps_test_rows_that_can_be_scored(
    workplace: Path, settings: Settings
) -> None:
    write_raw(train=b"\n".join(DIRTY), test=TEST)
    report = clean.clean(RAW, TARGET, settings(dict.fromkeys(FOUND, "drop")), CLASSES)
    checks = report["checks"]
    assert {name: checks[name]["rows"] for name in FOUND} == FOUND
    assert checks["duplicate"]["dropped"] == {"train": 1, "test": 0}
    assert sorted(ids("train") + ids("val"), key=lambda id_: int(id_[6:])) == [
        f"train:{n}" for n in range(1, 21) if n != 12
    ]
    assert ids("test") == ["test:1", "test:2", "test:3", "test:6"]
    gone = [id_ for name in FOUND for id_ in checks[name]["dropped_rows"]]
    assert len(gone) + sum(report["rows"]["clean"].values()) == sum(report["rows"]["raw"].values()), (
        "every row is accounted for"
    )
    assert report == json.loads((TARGET / "report.json").read_text())


def test_keep_reports_and_keeps(workplace: Path, settings: Settings) -> None:
    write_raw(train=b"\n".join(DIRTY), test=TEST)
    report = clean.clean(RAW, TARGET, settings(), CLASSES)
    assert {name: report["checks"][name]["rows"] for name in FOUND} == FOUND | {
        "leakage": ["train:24", "train:28"]
    }  # a missing text does not equal another missing text
    assert set(ids("train") + ids("val")) == {f"train:{n}" for n in range(1, 29)} - {"train:21", "train:23"}
    assert {row["id"]: row["text"] for row in read("test")}["test:5"] == "\ufffd"


def test_fail_names_all_failing_checks_at_once(workplace: Path, settings: Settings) -> None:
    write_raw(train=b"\n".join(DIRTY), test=TEST)
    message = refused(settings(dict.fromkeys(FOUND, "fail")))
    assert "8 problems" in message
    for name, rows in FOUND.items():
        assert (f"{name}: {len(rows)} rows: {rows[0] if rows else ''}" in message) == bool(rows)
    assert "unseen_label" not in refused(settings({"duplicate": "fail"}))


def test_kept_duplicates_do_not_straddle_train_and_validation(workplace: Path, settings: Settings) -> None:
    write_raw(train=texts("train", pos=20, neg=20) * 3, test=texts("test", neg=5, pos=5))
    clean.clean(RAW, TARGET, settings(), CLASSES)
    assert {row["text"] for row in read("train")}.isdisjoint(row["text"] for row in read("val"))
    assert len(read("val")) == 24


def test_a_label_in_test_only(workplace: Path, settings: Settings) -> None:
    write_raw(train=texts("train", pos=10, neg=10), test=texts("test", neg=2, new=1))
    assert "unseen_label: 1 rows: test:3 (label 'new' is not in train)" in refused(
        settings({"unseen_label": "fail"})
    )
    clean.clean(RAW, TARGET, settings({"unseen_label": "drop"}), CLASSES)
    assert ids("test") == ["test:1", "test:2"]
    assert clean.clean(RAW, TARGET, settings(), CLASSES)["classes"]["new"] == {
        "train": 0,
        "val": 0,
        "test": 1,
    }


LONG_TAIL = {
    "train": texts("train", pos=10, neg=10, rare=1, odd=1),
    "test": texts("test", neg=2, rare=2, odd=1),
}


def test_a_small_class_is_one_problem(workplace: Path, settings: Settings) -> None:
    """Once there were two, in turn: its train row first, then, as the class was gone, its test rows."""
    write_raw(**LONG_TAIL)
    message = refused(settings({"small_class": "fail", "unseen_label": "fail"}))
    assert "1 problem\n" in message
    first = "small_class: 5 rows: train:21, test:3, test:4 "
    first += "(class 'rare' has 1 different text in train, cutting needs 2)"
    assert f"{first}; train:22, test:5 (class 'odd'" in message
    assert "train_only" in message and "{other: NAME}" in message


@pytest.mark.parametrize(
    ("policy", "rare", "odd", "others"),
    [
        ("keep", (1, 0, 2), (1, 0, 1), {}),
        ("train_only", (1, 0, 2), (1, 0, 1), {}),
        ("drop", None, None, {}),
        ({"other": "rest"}, None, None, {"rest": (1, 1, 3)}),
        ({"other": "neg"}, None, None, {"neg": (10, 2, 5)}),  # an existing class
    ],
)
def test_policies_for_small_classes(
    workplace: Path,
    settings: Settings,
    policy: Any,
    rare: tuple[int, ...] | None,
    odd: tuple[int, ...] | None,
    others: dict[str, tuple[int, ...]],
) -> None:
    write_raw(**LONG_TAIL)
    report = clean.clean(
        RAW,
        TARGET,
        settings({"small_class": policy, "unseen_label": "fail"}, validation={"kind": "count", "count": 4}),
        CLASSES,
    )
    found = {label: tuple(counts.values()) for label, counts in report["classes"].items()}
    for label, counts in {"rare": rare, "odd": odd, **others}.items():
        assert found.get(label) == counts
    assert report["checks"]["small_class"]["rows"] == ["train:21", "train:22", "test:3", "test:4", "test:5"]
    assert sum(report["checks"]["small_class"]["dropped"].values()) == (5 if policy == "drop" else 0)
    assert sum(report["rows"]["clean"].values()) == 27 - (5 if policy == "drop" else 0)


def test_small_classes_stay_in_train_where_test_is_cut_too(workplace: Path, settings: Settings) -> None:
    write_raw(train=texts("all", a=30, b=30, two=2))
    assert clean.clean(RAW, TARGET, settings({"small_class": "train_only"}), CLASSES)["classes"]["two"] == {
        "train": 2,
        "val": 0,
        "test": 0,
    }


def test_classes_that_are_small_even_together_are_refused(workplace: Path, settings: Settings) -> None:
    write_raw(train=texts("train", pos=10, neg=10, rare=1), test=texts("test", neg=2, rare=1))
    message = refused(settings({"small_class": {"other": "rest"}, "unseen_label": "fail"}))
    assert "1 problem\n" in message
    assert (
        "small_class_merged: 2 rows: train:21, test:3 "
        "(class 'rest' has 1 different text in train, cutting needs 2)" in message
    )


WORDS = [f"word{letter}" for letter in "abcdefghijklmnop"]


def nearly(name: str, change: str | None = None) -> str:
    """Return a text of 17 words, so 15 runs of three.

    With a different first or last word two texts share 14 of 16 runs; with both different, 13 of 17.
    """
    return " ".join([name, *WORDS[:-1], change or WORDS[-1]])


def test_near_duplicates_are_named_and_told_to_evaluate(workplace: Path, settings: Settings) -> None:
    train = [
        *texts("train", pos=10, neg=10),
        (nearly("a"), "pos"),
        (nearly("a", "wordp!"), "pos"),
        (nearly("b"), "neg"),
        ("same", "pos"),
    ]
    write_raw(
        train=train,
        test=[
            *texts("test", pos=3, neg=3),
            (nearly("b", "last"), "neg"),
            ("Same", "pos"),
            (nearly("c"), "neg"),
        ],
    )
    assert "near_duplicate: 4 rows: train:21" in refused(settings({"near_duplicate": "fail"}))
    report = clean.clean(RAW, TARGET, settings(), CLASSES)
    assert set(report["checks"]["near_duplicate"]["rows"]) == {"train:21", "train:22", "train:23", "test:9"}
    assert report["checks"]["near_duplicate"]["reasons"]["train:23"] == "0.88 like test:7"  # 14 / 16
    assert report["near_duplicates"] == {"test_rows": ["test:7", "test:8", "test:9"]}
    dropped = clean.clean(RAW, TARGET, settings({"near_duplicate": "drop", "leakage": "drop"}), CLASSES)
    assert dropped["checks"]["near_duplicate"]["dropped_rows"] == ["train:21", "train:22", "train:23"]
    assert dropped["near_duplicates"] == {"test_rows": []}


def test_near_duplicates_never_lie_in_two_parts_that_are_cut(workplace: Path, settings: Settings) -> None:
    train = [
        row
        for number in range(40)
        for row in [(f"{number} {number} {nearly('x')[2:]}", "pos"), (f"other {number}", "neg")]
    ]
    own = [
        (" ".join(f"{word}{number}" for word in WORDS) + end, "pos")
        for number in range(30)
        for end in (".", "!", " more")
    ]
    write_raw(train=train + own)
    for seed in range(5):
        clean.clean(RAW, TARGET, settings(seed=seed), CLASSES)
        places = {
            split: {row["text"].rstrip(".!").removesuffix(" more") for row in read(split)}
            for split in clean.SPLITS
        }
        assert all(
            places[one].isdisjoint(places[other])
            for one, other in (("train", "val"), ("train", "test"), ("val", "test"))
        )
        clones = [
            split for split in clean.SPLITS if any(text.endswith("wordo wordp") for text in places[split])
        ]
        assert len(clones) == 1, "the whole chain of forty"


@pytest.mark.parametrize("train", [texts("train", pos=10), [("same", "pos")]])
def test_a_single_class_is_refused(workplace: Path, settings: Settings, train: list[tuple[str, str]]) -> None:
    write_raw(train=train, test=texts("test", pos=2))
    assert f"single class: train has {len(train)} rows of 'pos'" in refused(settings())


def test_rows_that_all_fall_are_refused(workplace: Path, settings: Settings) -> None:
    write_raw(train=b"text,label\na\nb\n", test=texts("test", pos=2))
    assert "single class: train has no rows after the checks" in refused(settings())
    write_raw(train=texts("train", pos=10, neg=10), test=b"text,label\nx\n")
    assert "split test has no rows left" in refused(settings())


def test_drift_fails_where_it_is_asked_to(workplace: Path, settings: Settings) -> None:
    write_raw(train=texts("train", pos=90, neg=10), test=texts("test", pos=10, neg=90))
    assert "drift: the labels of test differ from train's: total variation 0.800" in refused(
        settings({"drift": "fail"})
    )
    assert clean.clean(RAW, TARGET, settings(), CLASSES)["checks"]["drift"]["found"] is True


def test_label_names(workplace: Path, settings: Settings) -> None:
    write_raw(train=[("a", "0"), ("b", "0"), ("c", "1"), ("d", "1")], test=[("e", "1")])
    clean.clean(
        RAW,
        TARGET,
        settings(label_names={"1": "bad", "0": "good"}, validation={"kind": "count", "count": 2}),
        CLASSES,
    )
    assert json.loads((TARGET / "task.json").read_text()) == {"kind": "classes", "names": ["bad", "good"]}
    assert [row["label"] for row in read("test")] == [0]


def test_labels_without_a_name_are_refused(workplace: Path, settings: Settings) -> None:
    write_raw(train=[("a", "0"), ("b", "0"), ("c", "1"), ("d", "1")], test=[("e", "2")])
    message = refused(settings(label_names={"0": "good", "1": "bad"}))
    assert "unknown_label: 1 rows: test:1 (label '2' is not in preprocess.label_names)" in message


def test_limits(workplace: Path, settings: Settings) -> None:
    write_raw(train=texts("train", pos=300, neg=100, rare=3), test=texts("test", pos=30, neg=10, rare=1))
    report = clean.clean(RAW, TARGET, settings(limit={"train": 40, "test": 8}), CLASSES)
    assert report["rows"]["clean"] == {"train": 32, "val": 8, "test": 8}
    assert report["classes"]["rare"] == {"train": 1, "val": 1, "test": 1}
    assert report["limited"] == {"train": 363, "test": 33}
    whole = clean.clean(RAW, TARGET, settings(limit={"train": 9999, "test": None}), CLASSES)
    assert whole["limited"] == {"train": 0, "test": 0}


def test_no_raw_folder(workplace: Path, settings: Settings) -> None:
    with pytest.raises(DataError, match=r"(?s)data/raw/manifest.json does not exist.*dvc repro download"):
        clean.clean(RAW, TARGET, settings(), CLASSES)
    write_raw(train=texts("train", pos=10, neg=10))
    (RAW / "train.csv").unlink()
    assert "data/raw/train.csv does not exist" in refused(settings())


def test_an_output_that_cannot_be_written_is_named(workplace: Path, settings: Settings) -> None:
    write_raw(train=texts("train", pos=10, neg=10), test=texts("test", pos=2, neg=2))
    Path("file").write_text("")
    with pytest.raises(OutputError, match=r"(?s)file/clean cannot be written.*got:.*expected:.*next:"):
        clean.clean(RAW, Path("file/clean"), settings(), CLASSES)


def test_a_label_with_a_line_break_is_refused_unless_it_gets_a_name(
    workplace: Path, settings: Settings
) -> None:
    """It would forge a heading in the report of a retraining."""
    forged = "spam\n\n# Approved"
    rows = [(text, label) for text, label in zip("abcdefgh", [f'"{forged}"', "ham"] * 4, strict=True)]
    write_raw(train=rows, test=[("i", "ham"), ("j", f'"{forged}"')])
    message = refused(settings())
    assert "control_label: 5 rows" in message and "preprocess.label_names" in message
    clean.clean(RAW, TARGET, settings(label_names={forged: "spam", "ham": "ham"}), CLASSES)
    assert json.loads((TARGET / "task.json").read_text())["names"] == ["ham", "spam"]
