"""Rows lost to groups, times, faults and conflicts are reported; no row returns from test to train."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from baton import params
from baton.errors import DataError
from baton.tables import clean
from tests.data_fixtures import CLASSES
from tests.tables.test_clean import RAW, TARGET, ids, read, texts, write_raw
from tests.tables.test_extra_columns import table, write

Settings = Callable[..., params.TextPreprocess]
LIMITS = {"rows": 0.01, "rows_of_class": 0.05}


def refused(settings: params.TextPreprocess) -> str:
    with pytest.raises(DataError) as caught:
        clean.clean(RAW, TARGET, settings, CLASSES)
    return str(caught.value)


def others(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row | {"body": f"another {row['body']}"} for row in rows]


def test_rows_of_groups_that_are_in_test_too_are_losses(workplace: Path, settings: Settings) -> None:
    write(table(400, author=lambda row: f"a{row % 70}"), test=others(table(50, author=lambda row: f"a{row}")))
    lost = sum(row % 70 < 50 for row in range(400))
    wanted = {"text_column": "body", "group_column": "author"}
    message = refused(settings({"group_leakage": "drop", "leakage": "drop"}, **wanted, max_dropped=LIMITS))
    assert f"dropped: train loses {lost} of 400 rows" in message and f"group_leakage: {lost} rows" in message
    report = clean.clean(RAW, TARGET, settings({"group_leakage": "drop"}, **wanted), CLASSES)
    assert report["checks"]["group_leakage"]["dropped"] == {"train": lost, "test": 0}
    assert report["checks"]["leakage"]["rows"] == []


def test_rows_that_are_not_earlier_than_test_are_losses(workplace: Path, settings: Settings) -> None:
    """Val is cut from the earlier rows, not from those that are then dropped."""
    write(table(100, day=lambda row: row), test=others(table(40, day=lambda row: 70 + row)))
    wanted = {"text_column": "body", "time_column": "day"}
    message = refused(settings({"time_leakage": "drop"}, **wanted, max_dropped=LIMITS))
    assert "dropped: train loses 30 of 100 rows" in message and "time_leakage: 30 rows" in message
    report = clean.clean(RAW, TARGET, settings({"time_leakage": "drop"}, **wanted), CLASSES)
    assert report["rows"]["clean"] == {"train": 56, "val": 14, "test": 40}
    assert ids("val") == [f"train:{row}" for row in range(57, 71)]
    assert report["checks"]["time_leakage"]["dropped_rows"] == [f"train:{row}" for row in range(71, 101)]
    write(table(100, day=lambda row: 80 + row), test=others(table(40, day=lambda row: 70 + row)))
    assert "no train row is earlier than the test file" in refused(
        settings({"time_leakage": "drop"}, **wanted)
    )


def test_splits_by_time_are_cut_of_rows_that_are_used(workplace: Path, settings: Settings) -> None:
    rows = table(200, day=lambda row: row)
    later = [
        {"title": "x", "body": f"not labelled {row}", "label": None, "day": 200 + row} for row in range(40)
    ]
    later += [row | {"day": 300} for row in rows[:10]] + [
        {"title": "x", "body": "", "label": "a", "day": 400}
    ]
    write([*rows, *later], "jsonl")
    wanted = settings(
        {"duplicate": "drop", "empty": "drop"},
        format={"kind": "jsonl", "encoding": "auto"},
        text_column="body",
        time_column="day",
    )
    assert clean.clean(RAW, TARGET, wanted, CLASSES)["rows"]["clean"] == {"train": 128, "val": 32, "test": 40}
    assert ids("test") == [f"train:{row}" for row in range(161, 201)]


def test_a_class_whose_rows_cannot_be_read_is_a_loss(workplace: Path, settings: Settings) -> None:
    good = [{"text": f"text {row}", "label": "ab"[row % 2]} for row in range(400)]
    (RAW).mkdir(parents=True)
    (RAW / "manifest.json").write_text(json.dumps({"files": {"train": {"path": "train.jsonl"}}}))

    def with_bad(count: int, label: str) -> None:
        bad = [{"text": ["several", "words"], "label": label} for _ in range(count)]
        (RAW / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*good, *bad]))

    wanted = settings(format={"kind": "jsonl", "encoding": "auto"}, max_dropped=LIMITS)
    with_bad(3, "rare")
    assert "'rare' 3 of 3" in refused(wanted)
    with_bad(1, "rare")
    assert "'rare' 1 of 1" in refused(wanted), "one row never stops a run, unless it is a whole class"
    with_bad(1, "a")
    clean.clean(RAW, TARGET, wanted, CLASSES)


def test_a_group_of_undecodable_bytes(workplace: Path, settings: Settings) -> None:
    lines = [
        f"text {row},{'ab'[row % 2]},".encode() + (b"caf\xe9" if row in (3, 40) else str(row).encode())
        for row in range(60)
    ]
    write_raw(train=b"\n".join([b"text,label,site", *lines]))
    encoded = {
        "kind": "delimited",
        "escape": None,
        "encoding": "utf-8",
        "delimiter": ",",
        "quote": '"',
        "skip_lines": 0,
        "columns": None,
    }
    clean.clean(RAW, TARGET, settings(format=encoded, group_column="site"), CLASSES)
    assert sum({"train:4", "train:41"} <= set(ids(split)) for split in clean.SPLITS) == 1


@pytest.mark.parametrize("check", ["conflict", "near_duplicate", "leakage"])
def test_a_row_that_is_dropped_moves_no_other(workplace: Path, settings: Settings, check: str) -> None:
    rows = texts("t", a=60, b=60)
    write_raw(train=rows, val=texts("val", a=5, b=5))
    wanted = settings({check: "drop"})
    clean.clean(RAW, TARGET, wanted, CLASSES)
    before = set(ids("test"))
    if check == "leakage":
        write_raw(train=rows, val=[*texts("val", a=5, b=5), rows[2]])
    else:
        write_raw(
            train=[*rows, (rows[2][0], "b") if check == "conflict" else (rows[2][0] + ".", "a")],
            val=texts("val", a=5, b=5),
        )
    report = clean.clean(RAW, TARGET, wanted, CLASSES)
    assert sum(report["checks"][check]["dropped"].values()) >= 1
    after = set(ids("test"))
    assert before - {"train:3"} == after - {"train:3"} and len(before) > 20
    assert len(read("test")) == len(after)
