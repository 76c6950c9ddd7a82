"""Tests of how many rows may be dropped, and of the message when a run stops."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from baton import params
from baton.errors import DataError
from baton.tables import clean
from tests.data_fixtures import CLASSES
from tests.tables.test_clean import RAW, TARGET, texts, write_raw

Settings = Callable[..., params.TextPreprocess]
LIMITS = {"rows": 0.01, "rows_of_class": 0.05}
REPORT = Path(".baton/preprocess-report.json")


def refused(settings: params.TextPreprocess) -> str:
    shutil.rmtree(TARGET, ignore_errors=True)
    with pytest.raises(DataError) as caught:
        clean.clean(RAW, TARGET, settings, CLASSES)
    assert not TARGET.exists()
    return str(caught.value)


def rows(good: int, unlabelled: int = 0, empty: int = 0) -> list[tuple[str, str]]:
    half = good // 2
    return [
        *texts("t", pos=half, neg=good - half),
        *((f"no label {n}", "") for n in range(unlabelled)),
        *[("", "pos")] * empty,
    ]


@pytest.mark.parametrize(
    ("good", "bad", "stops"),
    [(49, 1, False), (48, 2, True), (198, 2, False), (197, 3, True), (990, 10, False), (989, 11, True)],
)
def test_more_than_one_row_in_a_hundred_stops_whatever_the_policy_says(
    workplace: Path, settings: Settings, good: int, bad: int, stops: bool
) -> None:
    write_raw(train=rows(good, unlabelled=bad))
    wanted = settings(max_dropped=LIMITS)
    if not stops:
        assert clean.clean(RAW, TARGET, wanted, CLASSES)["checks"]["missing_label"]["dropped"] == {
            "train": bad
        }
        return
    message = refused(wanted)
    assert f"dropped: train loses {bad} of {good + bad} rows" in message
    assert "missing_label: " in message
    assert f"train:{good + 1}" in message
    allowed = settings(max_dropped={"rows": bad / (good + bad), "rows_of_class": 0.05})
    assert clean.clean(RAW, TARGET, allowed, CLASSES)["rows"]["raw"] == {"train": good + bad}


def test_a_class_that_loses_more_than_its_share_stops(workplace: Path, settings: Settings) -> None:
    many = [(f"common {n}", "common") for n in range(2000)]
    write_raw(train=[*many, *texts("t", rare=40), *[("", "rare")] * 3])
    message = refused(settings({"empty": "drop"}, max_dropped=LIMITS))
    assert "classes of train lose rows to empty" in message
    assert "'rare' 3 of 43" in message
    assert "train loses" not in message
    write_raw(train=[*many, *texts("t", rare=40), *[("", "rare")] * 2])
    assert clean.clean(RAW, TARGET, settings({"empty": "drop"}, max_dropped=LIMITS), CLASSES)["checks"][
        "empty"
    ]["dropped"] == {"train": 2}


def test_rows_whose_text_stays_in_another_row_do_not_count(workplace: Path, settings: Settings) -> None:
    good = texts("t", pos=40, neg=40)
    write_raw(train=good * 3, test=[*texts("test", pos=5, neg=5), *good[:10]])
    report = clean.clean(
        RAW, TARGET, settings({"duplicate": "drop", "leakage": "drop"}, max_dropped=LIMITS), CLASSES
    )
    assert report["checks"]["duplicate"]["dropped"] == {"train": 160, "test": 0}
    assert report["checks"]["leakage"]["dropped"] == {"train": 10, "test": 0}


def test_each_file_is_judged_alone(workplace: Path, settings: Settings) -> None:
    write_raw(train=rows(2000), test=[*texts("test", pos=20, neg=20), ("x", ""), ("y", "")])
    assert "dropped: test loses 2 of 42 rows" in refused(settings(max_dropped=LIMITS))


def test_whole_classes_count_as_rows_only(workplace: Path, settings: Settings) -> None:
    write_raw(train=[*rows(1000), *texts("rare", a=1, b=1)])
    assert clean.clean(RAW, TARGET, settings({"small_class": "drop"}, max_dropped=LIMITS), CLASSES)["checks"][
        "small_class"
    ]["dropped"] == {"train": 2}
    write_raw(train=texts("t", **{f"intent_{n}": 1 for n in range(30)}, pos=20, neg=20))
    message = refused(settings({"small_class": "drop"}, max_dropped=LIMITS))
    assert "dropped: train loses 30 of 70 rows (42.9%)" in message
    assert "class 'intent_0' has 1 different text in train" in message


def test_what_was_dropped_is_shown_when_something_else_fails_then(
    workplace: Path, settings: Settings
) -> None:
    write_raw(train=b"text,label\na\nb\nc,pos\n", test=texts("test", pos=2))
    message = refused(settings())
    assert "single class: train has 1 rows of 'pos'" in message
    assert "dropped:  malformed: 2 rows: train:1, train:2 (1 fields instead of 2)" in message
    assert f"report:   {REPORT} lists every row" in message
    report = json.loads(REPORT.read_text())
    assert report["checks"]["malformed"]["reasons"] == {
        "train:1": "line 2: 1 fields instead of 2",
        "train:2": "line 3: 1 fields instead of 2",
    }
    assert "single class" in report["error"]
    write_raw(train=texts("train", pos=10, neg=10), test=texts("test", pos=2))
    clean.clean(RAW, TARGET, settings(), CLASSES)
    assert not REPORT.exists(), "the earlier failure is resolved"


def test_the_message_stays_short(workplace: Path, settings: Settings) -> None:
    write_raw(train=texts("t", **{f"intent_{n}": 1 for n in range(3000)}))
    assert len(refused(settings({"small_class": "fail"}))) < 2000


def test_labels_are_mended_and_said(workplace: Path, settings: Settings) -> None:
    write_raw(
        train=[
            *texts("t", spam=10, ham=10),
            *((f"more {n}", "spam\u00a0") for n in range(5)),
            ("decomposed", "cafe\u0301"),
            ("x", "caf\u00e9"),
        ]
    )
    report = clean.clean(RAW, TARGET, settings({"small_class": "drop"}), CLASSES)
    assert report["labels"] == [
        {"label": "cafe\u0301", "kept_as": "caf\u00e9", "rows": 1},
        {"label": "spam\u00a0", "kept_as": "spam", "rows": 5},
    ]
    assert sum(report["classes"]["spam"].values()) == 15


def test_labels_that_read_alike_stop(workplace: Path, settings: Settings) -> None:
    write_raw(train=texts("t", spam=10, Spam=4, ham=10, nan=3))
    message = refused(settings({"similar_labels": "fail"}))
    assert "similar_labels: 7 rows: " in message
    assert "label 'Spam' (4 rows) reads like 'spam' (10 rows)" in message
    assert "label 'nan' (3 rows) reads like a missing value" in message
    same = {"spam": "spam", "Spam": "spam", "ham": "ham", "nan": "not known"}
    assert set(
        clean.clean(RAW, TARGET, settings({"similar_labels": "fail"}, label_names=same), CLASSES)["classes"]
    ) == {"spam", "ham", "not known"}


def test_numbers_are_classes_in_their_own_order(workplace: Path, settings: Settings) -> None:
    write_raw(train=texts("t", **{str(n): 10 for n in (10, 9, 2, 1)}))
    clean.clean(RAW, TARGET, settings(), CLASSES)
    assert json.loads((TARGET / "task.json").read_text()) == {
        "kind": "classes",
        "names": ["1", "2", "9", "10"],
    }
