"""Test extra columns in every table format: joined texts, groups, times, weights and kept columns."""

import csv
import json
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from baton import params
from baton.contracts import row_attributes
from baton.errors import DataError, ParamsError
from baton.tables import clean
from baton.tables.extra_columns import ExtraColumns
from baton.tables.rows import Extras
from tests.data_fixtures import CLASSES
from tests.tables.test_clean import RAW, TARGET, read, refused

Settings = Callable[..., params.TextPreprocess]
CSV = {
    "kind": "delimited",
    "encoding": "auto",
    "escape": None,
    "delimiter": ",",
    "quote": '"',
    "skip_lines": 0,
    "columns": None,
}


def write(rows: list[dict[str, Any]], kind: str = "delimited", **others: list[dict[str, Any]]) -> None:
    """Write data/raw with one file per split."""
    RAW.mkdir(parents=True, exist_ok=True)
    names = {}
    for split, own in {"train": rows, **others}.items():
        path = RAW / f"{split}.table"
        match kind:
            case "delimited":
                with path.open("w", newline="", encoding="utf-8") as file:
                    writer = csv.DictWriter(file, list(own[0]))
                    writer.writeheader()
                    writer.writerows(own)
            case "jsonl":
                path.write_text("".join(json.dumps(row, default=str) + "\n" for row in own))
            case "parquet":
                pq.write_table(pa.Table.from_pylist(own), path)
        names[split] = {"path": path.name}
    (RAW / "manifest.json").write_text(json.dumps({"files": names}))


def table(count: int, **columns: Callable[[int], Any]) -> list[dict[str, Any]]:
    """Return rows with title, body and label, of two alternating classes, and `columns` by row number."""
    return [
        {"title": f"title {row}", "body": f"body of {row}", "label": "ab"[row % 2]}
        | {name: make(row) for name, make in columns.items()}
        for row in range(count)
    ]


def test_units_of_train_go_along(workplace: Path, settings: Settings) -> None:
    """Rows of one author, and near-duplicates, share a unit next to the clean tables and in the arrays."""
    rows = table(60, author=lambda row: f"author {row // 2 % 10}" if row < 40 else "")
    long = " ".join(f"word{number}" for number in range(60))
    rows[50]["body"], rows[52]["body"] = long, long + " more"
    write(rows)
    settled = settings(format=CSV, text_column="body", group_column="author")
    clean.clean(RAW, TARGET, settled, CLASSES)
    numbers = [int(row["id"].removeprefix("train:")) - 1 for row in read("train")]
    TARGET.parent.joinpath("arrays").mkdir()
    row_attributes.write(TARGET / "train.parquet", TARGET.parent / "arrays")
    units = row_attributes.units(TARGET.parent / "arrays", len(numbers))
    named = [
        rows[number]["author"] or ("alike" if number in (50, 52) else f"alone {number}") for number in numbers
    ]
    assert len(set(zip(units, named, strict=True))) == len(set(units)) == len(set(named))
    assert any(named.count(name) > 1 for name in named)


@pytest.mark.parametrize("kind", ["delimited", "jsonl", "parquet"])
def test_every_format_carries_the_columns(workplace: Path, settings: Settings, kind: str) -> None:
    start = datetime(2024, 1, 1, tzinfo=UTC)
    rows = table(
        40,
        weight=lambda row: 0.5 + row,
        site=lambda row: f"site {row % 3}",
        number=lambda row: row,
        day=lambda row: start + row * timedelta(days=1),
    )
    rows[3]["body"] = ""
    write(rows, kind)
    form = {"delimited": CSV, "jsonl": {"kind": "jsonl", "encoding": "auto"}}.get(kind, {"kind": kind})
    columns = {
        "text_column": ["title", "body"],
        "weight_column": "weight",
        "keep_columns": ["site", "number"],
        "time_column": "day",
    }
    report = clean.clean(RAW, TARGET, settings(format=form, **columns), CLASSES)
    assert report["rows"]["clean"] == {"train": 26, "val": 6, "test": 8}
    found = {int(row["id"].removeprefix("train:")) - 1: row for split in clean.SPLITS for row in read(split)}
    assert len(found) == 40
    for number, row in found.items():
        assert row["text"] == (f"title {number}\n\nbody of {number}" if number != 3 else "title 3")
        assert (row["weight"], row["site"], row["number"]) == (
            0.5 + number,
            f"site {number % 3}",
            str(number),
        )
    assert list(pq.read_schema(TARGET / "val.parquet").names) == [
        "id",
        "text",
        "label",
        "weight",
        "site",
        "number",
    ]


def test_a_column_that_is_not_there_is_named_with_its_key(workplace: Path, settings: Settings) -> None:
    write(table(20))
    for key, value in (
        ("group_column", "x"),
        ("time_column", "x"),
        ("weight_column", "x"),
        ("keep_columns", ["title", "x"]),
    ):
        message = refused(settings(text_column="body", **{key: value}))
        assert "has no column 'x'" in message and f"set {key} of preprocess" in message


def test_values_that_cannot_be_read_make_a_row_malformed(workplace: Path, settings: Settings) -> None:
    rows = table(
        30,
        weight=lambda row: "1,5" if row == 4 else -1 if row == 5 else "" if row == 6 else 2,
        day=lambda row: "yesterday" if row == 7 else row,
    )
    write(rows)
    columns = {"text_column": "body", "weight_column": "weight", "time_column": "day"}
    message = refused(settings({"malformed": "fail"}, **columns))
    assert "weight '1,5' is no number above 0" in message and "weight '-1' is no number above 0" in message
    assert "day 'yesterday' is no number and no date or time of ISO 8601" in message


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("1970-01-02", 86400.0),
        ("1970-01-01T01:00:00+01:00", 0.0),
        ("12.5", 12.5),
        (7, 7.0),
        (datetime(1970, 1, 1, 0, 1), 60.0),  # noqa: DTZ001
    ],
)
def test_times(value: Any, seconds: float) -> None:
    dated = value not in ("12.5", 7)
    assert ExtraColumns(time="t").read({"t": value}) == Extras(time=seconds, dated=dated)


def test_splits_are_cut_by_time(workplace: Path, settings: Settings) -> None:
    """All train rows precede all val rows, which precede all test rows, whatever the order of the file."""
    for seed in range(5):
        random_ = random.Random(seed)
        days = [random_.randrange(60) for _ in range(200)]
        write(table(200, day=lambda row, days=days: f"2024-{1 + days[row] // 28:02}-{1 + days[row] % 28:02}"))
        report = clean.clean(RAW, TARGET, settings(text_column="body", time_column="day"), CLASSES)
        times = {
            split: [days[int(row["id"].removeprefix("train:")) - 1] for row in read(split)]
            for split in clean.SPLITS
        }
        assert max(times["train"]) < min(times["val"]) <= max(times["val"]) < min(times["test"])
        assert 40 <= report["rows"]["clean"]["test"] < 50, "a fifth, and rows of the same day"
    write(table(30, day=lambda row: 5))
    assert "preprocess.time_column leaves no rows earlier than test" in refused_of_time(
        settings(text_column="body", time_column="day")
    )


def refused_of_time(wanted: params.TextPreprocess) -> str:
    with pytest.raises(DataError) as caught:
        clean.clean(RAW, TARGET, wanted, CLASSES)
    return str(caught.value)


def test_the_same_text_earlier_and_later_is_leakage(workplace: Path, settings: Settings) -> None:
    rows = table(40, day=lambda row: row)
    rows[38]["body"] = rows[2]["body"]
    write(rows)
    report = clean.clean(
        RAW, TARGET, settings({"leakage": "drop"}, text_column="body", time_column="day"), CLASSES
    )
    assert report["checks"]["leakage"]["reasons"] == {"train:3": "the same text as train:39"}
    assert report["checks"]["leakage"]["dropped_rows"] == ["train:3"]


def test_a_test_file_that_is_not_later_is_leakage(workplace: Path, settings: Settings) -> None:
    write(
        table(40, day=lambda row: row),
        test=[row | {"title": "x", "body": f"x {row['body']}"} for row in table(4, day=lambda row: 36 + row)],
    )
    report = clean.clean(
        RAW,
        TARGET,
        settings(
            {"time_leakage": "drop"},
            text_column="body",
            time_column="day",
            max_dropped={"rows": 1.0, "rows_of_class": 1.0},
        ),
        CLASSES,
    )
    assert report["checks"]["time_leakage"]["dropped_rows"] == [
        "train:37",
        "train:38",
        "train:39",
        "train:40",
    ]
    assert report["checks"]["time_leakage"]["reasons"]["train:37"] == "not earlier than test:1"


def test_a_group_never_lies_in_two_splits_and_stays_where_it_is(workplace: Path, settings: Settings) -> None:
    random_ = random.Random(0)
    rows = table(300, patient=lambda _: f"p{random_.randrange(40)}" if random_.random() < 0.9 else "")
    kept: dict[str, str] = {}
    for count in (100, 200, 300):
        write(rows[:count])
        clean.clean(
            RAW,
            TARGET,
            settings(text_column="body", group_column="patient", keep_columns=["patient"]),
            CLASSES,
        )
        places: dict[str, set[str]] = {}
        for split in clean.SPLITS:
            for row in read(split):
                if row["patient"]:
                    places.setdefault(row["patient"], set()).add(split)
        assert len(places) > 30 and all(len(splits) == 1 for splits in places.values())
        tested = {name: str(splits == {"test"}) for name, splits in places.items()}
        assert kept.items() <= tested.items(), "no patient moves to or from test"
        kept = tested
        assert 0.1 < len(read("test")) / count < 0.35


def test_a_group_in_train_and_in_the_test_file_is_leakage(workplace: Path, settings: Settings) -> None:
    write(
        table(40, author=lambda row: f"a{row // 4}"),
        test=[row | {"body": f"x {row['body']}"} for row in table(4, author=lambda row: f"a{8 + row}")],
    )
    wanted = {
        "text_column": "body",
        "group_column": "author",
        "max_dropped": {"rows": 1.0, "rows_of_class": 1.0},
    }
    assert "leakage: 8 rows" in refused(settings({"group_leakage": "fail"}, **wanted))
    report = clean.clean(RAW, TARGET, settings({"group_leakage": "drop"}, **wanted), CLASSES)
    assert report["checks"]["group_leakage"]["dropped_rows"] == [f"train:{row}" for row in range(33, 41)]
    assert report["checks"]["group_leakage"]["reasons"]["train:33"] == "of the same group 'a8' as test:1"


@pytest.mark.parametrize(
    ("recipe", "changes", "message"),
    [
        (
            "csv",
            {"group_column": "a", "time_column": "b"},
            "group_column and time_column cannot both be respected",
        ),
        (
            "csv",
            {"keep_columns": ["site", "label"]},
            "keep_columns: label is already a column of the clean tables",
        ),
        ("csv", {"keep_columns": ["site", "site"]}, "keep_columns names a column twice"),
        ("csv", {"text_column": []}, "preprocess.text_column"),
        ("image-folder", {"group_column": "patient"}, "group_column: only tables of text have other columns"),
    ],
)
def test_params_that_cannot_be_kept(
    root: Path, tmp_path: Path, recipe: str, changes: dict[str, Any], message: str
) -> None:
    raw = params.read_raw(root / f"recipes/{recipe}.yaml")
    raw["preprocess"] |= changes
    path = tmp_path / "params.yaml"
    path.write_text(json.dumps(raw))
    with pytest.raises(ParamsError, match=message):
        params.read(path)
