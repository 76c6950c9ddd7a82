"""Rows with numbers: cells, checks, standardising, drift and clean tables."""

import json
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import stats
from sklearn.preprocessing import StandardScaler

from baton import params
from baton.contracts import task_spec
from baton.contracts.task_spec import Numbers
from baton.errors import DataError
from baton.tables import clean, label_drift, number_cells, target_drift
from baton.tables.number_cells import NumberCells
from baton.tables.rows import Cell, Row
from tests.tables.test_label_cells import as_parquet, write_raw

RAW, TARGET = Path("data/raw"), Path("data/clean")
TASK = params.NumbersTask(kind="numbers", loss="smooth_l1", coverage=0.9)
ONE = NumberCells(("label",), "smooth_l1", 0.9)
TWO = NumberCells(("a", "b"), "mse", 0.8)
Settings = Callable[..., params.TextPreprocess]
ROWS = [(f"text number {number}", round(-2 + 0.37 * number % 5, 2)) for number in range(40)]


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("3", 3.0),
        (" -1.50 ", -1.5),
        ("+.5", 0.5),
        ("1e-3", 1e-3),
        (b"2.5", 2.5),
        (7, 7.0),
        (2.25, 2.25),
        (Decimal("0.1"), 0.1),
        ("-0", 0.0),
        *((nothing, None) for nothing in ("", "  ", None, float("nan"), "NaN", "n/a", "null", "#N/A")),
    ],
)
def test_a_cell_is_a_number_or_missing(cell: Any, expected: float | None) -> None:
    assert number_cells.number(cell) == expected
    found = ONE.read(cell)
    assert found == Cell("" if expected is None else json.dumps([expected]))
    assert "-0" not in json.dumps(number_cells.number("-0.0"))


@pytest.mark.parametrize(
    ("cell", "fault"),
    [
        ("3,5", "'3,5' is not a number: write digits with a decimal point"),
        ("1,234.5", "is not a number"),
        ("1.234,5", "is not a number"),
        ("12 345", "is not a number"),
        ("5 stars", "is not a number"),
        ("0x10", "is not a number"),
        ("5%", "is not a number"),
        ("inf", "'inf' is infinite"),
        ("-Infinity", "is infinite"),
        ("1e999", "'1e999' is infinite"),
        (float("inf"), "is infinite"),
        (10**400, "is infinite"),
        ("-1e200", "is -1e+200; a number of at most 1e+70 is needed"),
        ("1e71", "is 1e+71; a number of at most 1e+70 is needed"),
        (True, "is true; a number is needed"),
        ([1.0], "is a list; a number is needed"),
    ],
)
def test_what_is_not_a_finite_number_is_a_fault(cell: Any, fault: str) -> None:
    found = ONE.read(cell)
    assert isinstance(found, str) and found.startswith("label ") and fault in found


def test_a_row_has_each_of_its_numbers_or_none() -> None:
    assert TWO.read(("1", 2)) == Cell("[1.0, 2.0]")
    assert TWO.read((None, "")) == Cell("")
    assert TWO.read(("1", "n/a")) == "b is missing; a row needs each of a, b, or none of them"
    assert TWO.read(("1", "x")).startswith("b 'x' is not a number")  # type: ignore[union-attr]


def as_csv(rows: list[tuple[str, Any]]) -> str:
    return "text,label\n" + "".join(f"{text},{value}\n" for text, value in rows)


def read(split: str) -> dict[str, list[float]]:
    table = pq.read_table(TARGET / f"{split}.parquet")
    return dict(zip(table["text"].to_pylist(), table["numbers"].to_pylist(), strict=True))


@pytest.mark.parametrize(
    ("form", "content"),
    [
        (None, as_csv(ROWS)),
        (
            {"kind": "jsonl", "encoding": "auto"},
            "".join(json.dumps({"text": t, "label": v}) + "\n" for t, v in ROWS),
        ),
        ({"kind": "parquet"}, as_parquet(ROWS)),
    ],
    ids=["csv", "lines", "parquet"],
)
def test_numbers_of_every_format_give_the_same_table(
    workplace: Path, settings: Settings, form: dict[str, Any] | None, content: str | bytes
) -> None:
    write_raw(train=content)
    report = clean.clean(RAW, TARGET, settings(**({"format": form} if form else {})), TASK)
    found = read("train") | read("val") | read("test")
    assert found == {text: [value] for text, value in ROWS}
    schema = pq.read_schema(TARGET / "train.parquet")
    assert schema.field("numbers").type == pa.list_(pa.float64(), 1)
    spec, train = task_spec.read_file(TARGET), np.array([*read("train").values()])
    scaler = StandardScaler().fit(train)
    assert isinstance(spec, Numbers) and (spec.names, spec.loss, spec.coverage) == (
        ("label",),
        "smooth_l1",
        0.9,
    )
    assert spec.centre == pytest.approx(scaler.mean_) and spec.scale == pytest.approx(scaler.scale_)
    own = report["numbers"]["label"]["train"]
    assert (own["rows"], own["least"], own["greatest"]) == (len(train), train.min(), train.max())
    assert report["classes"] == {} and "without_label" not in report


def test_several_columns_are_one_target(workplace: Path, settings: Settings) -> None:
    lines = "".join(f"{text},{value},{100 + 3 * value:.2f}\n" for text, value in ROWS)
    write_raw(train=f"text,a,b\n{lines}")
    clean.clean(RAW, TARGET, settings(label_column=("a", "b")), TASK)
    spec = task_spec.read_file(TARGET)
    assert spec.names == ("a", "b") and spec.width == 2
    assert read("train")["text number 0"] == [-2.0, 94.0]


def test_bad_rows_are_named_and_dropped_or_stop_the_stage(workplace: Path, settings: Settings) -> None:
    bad = [
        ("text of words", "good"),
        ("comma", '"3,5"'),
        ("no end", "inf"),
        ("no number", "n/a"),
        ("gap", ""),
    ]
    write_raw(train=as_csv([*ROWS, *bad]))
    report = clean.clean(RAW, TARGET, settings(), TASK)
    checks = report["checks"]
    assert list(checks["malformed"]["reasons"]) == ["train:41", "train:42", "train:43"]
    assert "label 'good' is not a number" in checks["malformed"]["reasons"]["train:41"]
    assert checks["missing_label"]["rows"] == ["train:44", "train:45"]
    assert sum(report["rows"]["clean"].values()) == len(ROWS)
    with pytest.raises(DataError, match=r"malformed: 3 rows[\s\S]*train:41[\s\S]*missing_label: 2 rows"):
        clean.clean(RAW, TARGET, settings({"malformed": "fail", "missing_label": "fail"}), TASK)


def test_a_constant_number_is_refused(workplace: Path, settings: Settings) -> None:
    write_raw(train="text,a,b\n" + "".join(f"{text},{value},7\n" for text, value in ROWS))
    with pytest.raises(DataError, match="constant number: b is 7 in all 40 rows of train"):
        clean.clean(RAW, TARGET, settings(label_column=("a", "b")), TASK)
    with pytest.raises(DataError, match="label is constant in train"):  # after the cut
        ONE.spec([], ["[1.0]", "[1.0]"])
    with pytest.raises(DataError, match="label is constant in train"):  # as far as squares can tell
        ONE.spec([], ["[1e-200]", "[2e-200]"])


def test_equal_texts_with_other_numbers_are_conflicts(workplace: Path, settings: Settings) -> None:
    write_raw(train=as_csv([*ROWS, (ROWS[0][0], 4.5)]))
    found = clean.clean(RAW, TARGET, settings({"conflict": "drop"}), TASK)["checks"]["conflict"]
    assert found["rows"] == ["train:1", "train:41"] and "[4.5]" in found["reasons"]["train:41"]


def test_heavy_tails_are_noted(workplace: Path, settings: Settings) -> None:
    heavy = np.random.default_rng(0).standard_cauchy(400).round(3)
    light = np.random.default_rng(0).normal(size=400).round(3)
    for values, noted in ((heavy, True), (light, False)):
        write_raw(train=as_csv([(f"row {place}", value) for place, value in enumerate(values)]))
        notes = clean.clean(RAW, TARGET, settings(), TASK)["notes"]
        assert any("label has heavy tails" in note for note in notes) is noted
        assert number_cells.kurtosis(values) == pytest.approx(stats.kurtosis(values, fisher=False))


def rows(split: str, values: Any) -> list[Row]:
    return [
        Row(split, place, f"{split} {place}", json.dumps([float(v)])) for place, v in enumerate(values, 1)
    ]


def test_drift_between_files_is_kolmogorov_and_smirnovs() -> None:
    generator = np.random.default_rng(2)
    one, same, moved = (generator.normal(mean, 1, 300).round(1) for mean in (0, 0, 0.8))
    found = ONE.drift([*rows("train", one), *rows("test", moved)])
    assert found is not None and found["found"]
    # Values at 100 quantiles: with one decimal there are fewer values, so the statistic is exact.
    assert found["kolmogorov_smirnov"] == pytest.approx(stats.ks_2samp(one, moved).statistic, abs=0.011)
    assert "kolmogorov smirnov" in label_drift.text(found)
    still = ONE.drift([*rows("train", one), *rows("test", same)])
    assert still is not None and not still["found"] and still["p_value"] > 0.05
    assert ONE.drift(rows("train", one)) is None


def test_one_of_several_numbers_that_drifts_is_found() -> None:
    generator = np.random.default_rng(3)
    earlier = [json.dumps(row) for row in generator.normal(size=(200, 2)).round(2).tolist()]
    new = [json.dumps(row) for row in generator.normal([0, 1], size=(200, 2)).round(2).tolist()]
    spec = Numbers(("a", "b"), (0.0, 0.0), (1.0, 1.0), "mse", 0.9)
    found = target_drift.distance(spec, Counter(earlier), Counter(new))
    alone = target_drift.distance(
        spec, *(Counter(json.dumps([json.loads(t)[1]]) for t in own) for own in (earlier, new))
    )
    assert found.value == alone.value > 0.3 and found.p == pytest.approx(2 * alone.p)


def test_appended_rows_leave_others_in_their_split(workplace: Path, settings: Settings) -> None:
    write_raw(train=as_csv(ROWS))
    clean.clean(RAW, TARGET, settings(), TASK)
    before = set(read("test"))
    write_raw(train=as_csv([*ROWS, *[(f"new {n}", n) for n in range(30)]]))
    clean.clean(RAW, TARGET, settings(), TASK)
    assert before <= set(read("test")) and not before & set(read("train"))
