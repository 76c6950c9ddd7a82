"""The notes report what a cut missed, and other facts about groups, times and classes."""

from collections.abc import Callable
from pathlib import Path

import pytest

from baton import params
from baton.errors import DataError
from baton.tables import clean
from tests.data_fixtures import CLASSES
from tests.tables.test_clean import RAW, TARGET, texts, write_raw
from tests.tables.test_extra_columns import table, write
from tests.tables.test_near_duplicates import filled

Settings = Callable[..., params.TextPreprocess]


def refused(settings: params.TextPreprocess) -> str:
    with pytest.raises(DataError) as caught:
        clean.clean(RAW, TARGET, settings, CLASSES)
    return str(caught.value)


def test_a_share_that_a_large_unit_spoils_is_said(workplace: Path, settings: Settings) -> None:
    rows = [(text, "ab"[number % 2]) for number, text in enumerate(filled(450))]
    write_raw(train=[*rows, *texts("other", a=25, b=25)])
    report = clean.clean(RAW, TARGET, settings(), CLASSES)
    tested = report["rows"]["clean"]["test"]
    assert tested < 20 or tested > 400
    note = next(
        note
        for note in report["notes"]
        if note.startswith(f"test has {tested} of 500 rows, where params ask for 100")
    )
    assert "has 450 rows: train:1, train:2, train:3, …" in note
    write_raw(train=texts("other", a=250, b=250))
    assert clean.clean(RAW, TARGET, settings(), CLASSES)["notes"] == []


def test_a_class_that_is_one_unit_is_small(workplace: Path, settings: Settings) -> None:
    write(
        [
            row | {"label": "abcd"[number % 4], "site": "abcd"[number % 4]}
            for number, row in enumerate(table(200))
        ]
    )
    wanted = {"text_column": "body", "group_column": "site"}
    message = refused(settings({"small_class": "fail"}, **wanted))
    assert (
        "class 'a' has 50 different texts in train "
        "(1 where near-duplicates and groups stay together), cutting needs 3" in message
    )
    message = refused(settings(**wanted))
    assert "never parted" in message or "stay together" in message


def test_a_class_that_a_cut_has_none_of_is_said(workplace: Path, settings: Settings) -> None:
    rows = [row | {"site": f"s{number}"} for number, row in enumerate(table(100))]
    rows += [{"title": "x", "body": f"rare {number}", "label": "c", "site": "one"} for number in range(5)]
    write(rows)
    report = clean.clean(RAW, TARGET, settings(text_column="body", group_column="site"), CLASSES)
    absent = [split for split in ("val", "test") if not report["classes"]["c"][split]]
    assert absent and all(
        any(f"{split} has no row of 'c'" in note for note in report["notes"]) for split in absent
    )


def test_what_a_cut_by_time_missed_is_said(workplace: Path, settings: Settings) -> None:
    rows = [
        row | {"day": int(number > 20) + int(number > 40), "label": "abc"[number % (3 if number < 41 else 2)]}
        for number, row in enumerate(table(100))
    ]
    write(rows)
    notes = clean.clean(RAW, TARGET, settings(text_column="body", time_column="day"), CLASSES)["notes"]
    assert notes[0].startswith("test has 59 of 100 rows, where params ask for 20")
    assert any(note.startswith("test has no row of 'c'") for note in notes)


def test_rows_without_a_group_are_said(workplace: Path, settings: Settings) -> None:
    write(table(60, site=lambda row: "" if row % 3 else f"s{row}"))
    notes = clean.clean(RAW, TARGET, settings(text_column="body", group_column="site"), CLASSES)["notes"]
    assert any("40 of 60 rows have no site: each is a group of its own" in note for note in notes)


def test_numbers_beside_dates_are_refused(workplace: Path, settings: Settings) -> None:
    write(table(60, day=lambda row: 2024 if row == 7 else f"2024-01-{1 + row % 28:02}"))
    message = refused(settings(text_column="body", time_column="day"))
    assert "column 'day' mixes dates and numbers" in message and "a number in train:8" in message
    write(table(60, day=lambda row: 1960 + row))
    assert (
        clean.clean(RAW, TARGET, settings(text_column="body", time_column="day"), CLASSES)["rows"]["clean"][
            "test"
        ]
        == 12
    )


def test_small_classes_that_join_a_class_of_that_name_are_said(workplace: Path, settings: Settings) -> None:
    write_raw(train=texts("t", a=50, b=50, rare=1, odd=1))
    notes = clean.clean(RAW, TARGET, settings({"small_class": {"other": "a"}}), CLASSES)["notes"]
    assert notes == [
        "preprocess.checks.small_class: 'a' is a class of 50 rows already; 2 rows of small classes come to it"
    ]
