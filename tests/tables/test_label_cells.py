"""Rows with any number of labels: cells, checks, splits, drift and clean tables."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from scipy import stats
from scipy.spatial.distance import braycurtis

from baton import params
from baton.contracts import task_spec
from baton.errors import DataError, ParamsError
from baton.sources import image_sources
from baton.tables import clean, label_drift, row_units, splits, two_sample_tests
from baton.tables.label_cells import LabelCells
from baton.tables.rows import Cell, Row
from tests.data_fixtures import CLASSES
from tests.image_files import saved

RAW, TARGET = Path("data/raw"), Path("data/clean")
BAR = params.LabelsTask(kind="labels", separator="|")
LISTS = params.LabelsTask(kind="labels", separator=None)
CSV = {
    "kind": "delimited",
    "encoding": "auto",
    "escape": None,
    "delimiter": ",",
    "quote": '"',
    "skip_lines": 0,
    "columns": None,
}
Settings = Callable[..., params.TextPreprocess]
ROWS: list[tuple[str, list[str]]] = [
    (f"text {number}", names)
    for number, names in enumerate(
        [
            ["war", "trade"],
            ["trade"],
            [],
            ["war"],
            ["trade", "grain"],
            ["grain", "war", "trade"],
            [],
            ["grain"],
        ]
        * 5
    )
]


def write_raw(**files: str | bytes) -> None:
    RAW.mkdir(parents=True, exist_ok=True)
    for split, content in files.items():
        (RAW / split).write_bytes(content.encode() if isinstance(content, str) else content)
    (RAW / "manifest.json").write_text(json.dumps({"files": {split: {"path": split} for split in files}}))


def as_csv(rows: list[tuple[str, list[str]]]) -> str:
    return "text,label\n" + "".join(f"{text},{'|'.join(names)}\n" for text, names in rows)


def quoted(names: list[str]) -> str:
    """Return a JSON list as a quoted cell of a CSV."""
    return '"' + json.dumps(names).replace('"', '""') + '"'


def as_lines(rows: list[tuple[str, Any]]) -> str:
    return "".join(json.dumps({"text": text, "label": names}) + "\n" for text, names in rows)


def as_parquet(rows: list[tuple[str, Any]]) -> bytes:
    texts, names = zip(*rows, strict=True)
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"text": list(texts), "label": list(names)}), sink)
    return bytes(sink.getvalue())


def read(split: str) -> dict[str, list[str]]:
    """Return the labels of a clean split, by text."""
    spec = task_spec.read_file(TARGET)
    assert isinstance(spec, task_spec.Labels)
    table = pq.read_table(TARGET / f"{split}.parquet")
    assert table.schema.field("labels").type == pa.list_(pa.int32())
    return {row["text"]: [spec.names[place] for place in row["labels"]] for row in table.to_pylist()}


@pytest.mark.parametrize(
    ("task", "form", "content"),
    [
        (BAR, CSV, as_csv(ROWS)),
        (LISTS, CSV, as_csv([(text, [quoted(names)]) for text, names in ROWS])),
        (
            BAR,
            {"kind": "jsonl", "encoding": "auto"},
            as_lines([(text, "|".join(names)) for text, names in ROWS]),
        ),
        (LISTS, {"kind": "jsonl", "encoding": "auto"}, as_lines(ROWS)),
        (BAR, {"kind": "parquet"}, as_parquet([(text, "|".join(names)) for text, names in ROWS])),
        (LISTS, {"kind": "parquet"}, as_parquet(ROWS)),
        (LISTS, {"kind": "parquet"}, as_parquet([(text, json.dumps(names)) for text, names in ROWS])),
    ],
    ids=["csv", "csv of lists", "lines", "lines of lists", "parquet", "parquet of lists", "parquet of JSON"],
)
def test_cells_of_every_format_give_the_same_table(
    workplace: Path, settings: Settings, task: params.LabelsTask, form: dict[str, Any], content: str | bytes
) -> None:
    write_raw(train=content)
    report = clean.clean(RAW, TARGET, settings(format=form), task)
    assert storage_of(TARGET) == {"kind": "labels", "names": ["grain", "trade", "war"]}
    found = read("train") | read("val") | read("test")
    assert found == {text: sorted(names) for text, names in ROWS}, "indexes are ascending, names sorted"
    assert report["classes"]["war"] == {
        split: sum("war" in names for names in read(split).values()) for split in clean.SPLITS
    }
    assert report["without_label"] == {
        split: sum(not names for names in read(split).values()) for split in clean.SPLITS
    }
    assert sum(report["without_label"].values()) == 10
    assert report["checks"]["missing_label"]["rows"] == []
    before = {path.name: path.read_bytes() for path in TARGET.iterdir()}
    clean.clean(RAW, TARGET, settings(format=form), task)
    assert {path.name: path.read_bytes() for path in TARGET.iterdir()} == before


def storage_of(folder: Path) -> Any:
    return json.loads((folder / "task.json").read_text())


@pytest.mark.parametrize(
    ("separator", "value", "wanted"),
    [
        ("|", "b| a|b|", ["a", "b"]),
        ("; ", "b; a", ["a", "b"]),
        ("|", None, []),
        ("|", " \u200b", []),
        ("|", float("nan"), []),
        ("|", b"a", ["a"]),
        ("|", "[a]|b", ["[a]", "b"]),
        (", ", "a,b, c", ["a", "b", "c"]),
        (" ", "a b", ["a", "b"]),
        ("|", 7, ["7"]),
        (None, [], []),
        (None, "[]", []),
        (None, "", []),
        (None, [10, 9, b"x", True], ["9", "10", "true", "x"]),
        (None, ["e\u0301", "\u00e9 "], ["\u00e9"]),
        (None, '["b", "a"]', ["a", "b"]),
    ],
)
def test_a_cell_is_a_set_of_names(separator: str | None, value: Any, wanted: list[str]) -> None:
    cells = LabelCells(separator)
    cell = cells.read(value)
    assert isinstance(cell, Cell)
    assert list(cells.names(cell.label)) == wanted


BAD = [
    (BAR, ["war"], "label is a list, but task.separator is '|'; set it to null to read lists"),
    (BAR, '["war"]', "is a JSON list, but task.separator is '|'; set it to null"),
    (BAR, {"a": 1}, "label is a dict; names of labels are needed"),
    (LISTS, "war|trade", 'label \'war|trade\' is not a JSON list, such as ["a", "b"]; set task.separator'),
    (LISTS, "7", "label '7' is not a JSON list"),
    (LISTS, 7.5, "label is a float; names of labels are needed"),
    (LISTS, ["war", float("nan")], "label has null in its list; names of labels are needed"),
    (LISTS, ["war", None], "label has null in its list; names of labels are needed"),
    (LISTS, ["war", ["trade"]], "label has a list in its list; names of labels are needed"),
]


@pytest.mark.parametrize(("task", "cell", "complaint"), BAD)
def test_a_bad_cell_is_one_error_that_names_its_row(
    workplace: Path, settings: Settings, task: params.LabelsTask, cell: Any, complaint: str
) -> None:
    good: list[tuple[str, Any]] = [
        (text, "|".join(names) if task.separator else names) for text, names in ROWS
    ]
    write_raw(train=as_lines([*good[:5], ("bad", cell), *good[5:]]))
    form = {"kind": "jsonl", "encoding": "auto"}
    with pytest.raises(DataError) as caught:
        clean.clean(RAW, TARGET, settings({"malformed": "fail"}, format=form), task)
    message = str(caught.value)
    assert "1 problem\n" in message
    assert "malformed: 1 rows: train:6 (" in message
    assert complaint in message
    assert not TARGET.exists()
    report = clean.clean(RAW, TARGET, settings(format=form), task)
    assert report["checks"]["malformed"]["rows"] == ["train:6"]
    assert len(read("train") | read("val") | read("test")) == len(ROWS)


def test_a_column_of_lists_needs_a_task_that_reads_them(workplace: Path, settings: Settings) -> None:
    write_raw(train=as_parquet(ROWS))
    with pytest.raises(DataError, match=r"(?s)'label' does not contain single values.*separator: null"):
        clean.clean(RAW, TARGET, settings(format={"kind": "parquet"}), BAR)


def test_names_are_mapped_and_checked_one_by_one(workplace: Path, settings: Settings) -> None:
    write_raw(train=as_csv(ROWS))
    names = {"war": "conflict", "trade": "trade", "grain": "crops"}
    clean.clean(RAW, TARGET, settings(label_names=names), BAR)
    assert storage_of(TARGET)["names"] == ["conflict", "crops", "trade"]
    assert read("train") | read("val") | read("test") == {
        text: sorted(names[name] for name in own) for text, own in ROWS
    }
    del names["grain"]
    with pytest.raises(DataError, match=r"unknown_label: 15 rows: .*label 'grain' is not in preprocess"):
        clean.clean(RAW, TARGET, settings(label_names=names), BAR)


def test_checks_are_of_names(workplace: Path, settings: Settings) -> None:
    rows = [
        *ROWS,
        ("text 0", ["trade", "war"]),  # the same as row 1: no conflict
        ("Text 1", ["trade", "war"]),  # row 2 has trade alone
        ("spelled", ["War", "trade"]),
        ("rare", ["opera", "war"]),
    ]
    write_raw(train=as_csv(rows), test=as_csv([("one", ["trade"]), ("two", ["trade", "ballet"])]))
    checks = clean.clean(RAW, TARGET, settings({"small_class": "keep", "duplicate": "drop"}), BAR)["checks"]
    assert checks["conflict"]["reasons"] == {
        "train:2": "'trade', but ['trade', 'trade, war'] in all: see train:42",
        "train:42": "'trade, war', but ['trade', 'trade, war'] in all: see train:2",
    }
    assert checks["duplicate"]["rows"] == ["train:41"]
    assert checks["similar_labels"]["reasons"] == {
        "train:43": "label 'War' (1 rows) reads like 'war' (18 rows)"
    }
    assert checks["small_class"]["reasons"] == {
        "train:43": "label 'War' has 1 different text in train, cutting needs 2",
        "train:44": "label 'opera' has 1 different text in train, cutting needs 2",
    }
    assert checks["unseen_label"]["reasons"] == {"test:2": "label 'ballet' is not in train"}
    assert "ballet" in storage_of(TARGET)["names"]


def test_a_rare_label_leaves_its_rows_which_stay(workplace: Path, settings: Settings) -> None:
    write_raw(
        train=as_csv([*ROWS, ("rare", ["opera", "war"])]),
        test=as_csv([("one", ["trade", "opera"]), ("two", ["ballet"])]),
    )
    wanted = settings({"small_class": "drop", "unseen_label": "drop"})
    report = clean.clean(RAW, TARGET, wanted, BAR)
    assert storage_of(TARGET)["names"] == ["grain", "trade", "war"]
    assert (read("train") | read("val"))["rare"] == ["war"]
    assert read("test") == {"one": ["trade"], "two": []}
    assert report["checks"]["small_class"]["rows"] == ["train:41", "test:1"]
    assert report["checks"]["small_class"]["dropped_rows"] == []
    assert report["checks"]["unseen_label"]["rows"] == ["test:2"]

    note = "small_class: 2 mentions of 1 labels taken out; 0 rows lost their only label"
    assert note in report["notes"]
    assert "unseen_label: 1 mentions of 1 labels taken out; 1 rows lost their only label" in report["notes"]
    assert report["checks"]["unseen_label"]["emptied_rows"] == ["test:2"]


def test_taking_out_the_labels_of_most_rows_is_refused(workplace: Path, settings: Settings) -> None:
    """The names are separated by "; ", but params say "|": nearly each row has a name of its own."""
    rows = [(f"text {number}", [f"a; b {number}; c"]) for number in range(600)]
    rows[::100] = [(text, ["extra", "more"]) for text, _ in rows[::100]]
    write_raw(train=as_csv(rows))
    limits = {"rows": 0.01, "rows_of_class": 0.05}
    with pytest.raises(DataError) as caught:
        clean.clean(RAW, TARGET, settings({"small_class": "drop"}, max_dropped=limits), BAR)
    message = str(caught.value)
    assert "dropped: train loses 594 of 600 rows (99.0%), more than preprocess.max_dropped.rows" in message
    assert "small_class take 594 of 606 mentions of labels out of rows of train (98.0%), more" in message
    report = clean.clean(RAW, TARGET, settings({"small_class": "drop"}), BAR)
    note = "small_class: 594 mentions of 594 labels taken out; 594 rows lost their only label"
    assert note in report["notes"]


def test_messages_speak_of_labels(workplace: Path, settings: Settings) -> None:
    rows = [(text if place % 3 else "", names) for place, (text, names) in enumerate(ROWS)]
    decimals = [(f"decimal {place}", [f"{place}.5"]) for place in range(40)]
    write_raw(train=as_csv([*rows, *decimals]))
    limits = {"rows": 0.01, "rows_of_class": 0.05}
    wanted = settings({"empty": "drop", "continuous_labels": "fail"}, max_dropped=limits)
    with pytest.raises(DataError) as caught:
        clean.clean(RAW, TARGET, wanted, BAR)
    message = str(caught.value)
    assert "dropped: labels of train lose rows to empty" in message
    assert "look like regression; a label is a name: cut the numbers into ranges" in message
    assert "class" not in message.replace("rows_of_class", "").replace("small_class", "")


def test_a_long_tail_of_labels_may_be_taken_out(workplace: Path, settings: Settings) -> None:
    """2% of the names are too rare: more than the rows that may be lost, less than the part of a class."""
    rows = [(f"text {number}", ["war", "trade"][number % 2 :]) for number in range(400)]
    rows[::34] = [(text, [*names, f"rare {text}"]) for text, names in rows[::34]]
    write_raw(train=as_csv(rows))
    limits = {"rows": 0.01, "rows_of_class": 0.05}
    report = clean.clean(RAW, TARGET, settings({"small_class": "drop"}, max_dropped=limits), BAR)
    assert "small_class: 12 mentions of 12 labels taken out; 0 rows lost their only label" in report["notes"]


@pytest.mark.parametrize("task", [BAR, LISTS])
def test_null_is_not_annotated_and_an_empty_cell_is_no_label(
    workplace: Path, settings: Settings, task: params.LabelsTask
) -> None:
    good = [(text, "|".join(names) if task.separator else names) for text, names in ROWS]
    empty: Any = "" if task.separator else []
    lines = as_lines([*good, ("null", None), ("nan", float("nan")), ("empty", empty)])
    write_raw(train=lines + json.dumps({"text": "no key"}) + "\n")
    report = clean.clean(RAW, TARGET, settings(format={"kind": "jsonl", "encoding": "auto"}), task)
    found = read("train") | read("val") | read("test")
    assert {*found} == {text for text, _ in ROWS} | {"empty"}
    assert found["empty"] == []
    missing = report["checks"]["missing_label"]["reasons"]
    assert missing == dict.fromkeys(["train:41", "train:42", "train:44"], "no label")
    assert any("1 of 44 rows have a null for a label: they are left out" in note for note in report["notes"])


def test_parts_of_lists_are_noted(workplace: Path, settings: Settings) -> None:
    rows = [
        (text, f"\"['war', '{'trade' if number % 2 else 'grain'}']\"")
        for number, (text, _) in enumerate(ROWS)
    ]
    write_raw(train="text,label\n" + "".join(f"{text},{cell}\n" for text, cell in rows))
    comma = params.LabelsTask(kind="labels", separator=", ")
    notes = clean.clean(RAW, TARGET, settings(), comma)["notes"]
    assert any("labels such as \"'grain']\" look like parts of lists" in note for note in notes)


def test_rare_labels_are_refused_with_advice(workplace: Path, settings: Settings) -> None:
    write_raw(train=as_csv([*ROWS, ("rare", ["opera", "war"])]))
    with pytest.raises(DataError) as caught:
        clean.clean(RAW, TARGET, settings({"small_class": "fail"}), BAR)
    assert "small_class: 1 rows: train:41 (label 'opera' has 1 different text" in str(caught.value)
    assert "small_class may be drop (takes such labels out of their rows, which stay)" in str(caught.value)


def test_a_table_without_any_label_is_refused(workplace: Path, settings: Settings) -> None:
    write_raw(train=as_csv([(text, []) for text, _ in ROWS]))
    with pytest.raises(DataError, match="no row of train has a label"):
        clean.clean(RAW, TARGET, settings(), BAR)


def test_a_wrong_separator_is_noted(workplace: Path, settings: Settings) -> None:
    write_raw(train="text,label\n" + "".join(f"{text},{'; '.join(names)}\n" for text, names in ROWS))
    share = {"kind": "share", "share": 0.3}
    report = clean.clean(RAW, TARGET, settings(validation=share), BAR)
    assert any(
        "no row has more than one label; check that task.separator, '|'" in one for one in report["notes"]
    )


def random_rows(count: int, seed: int) -> list[Row]:
    """Return rows whose labels have Zipf frequencies; about one in five has none."""
    random = np.random.default_rng(seed)
    rates = 0.4 / np.arange(1, 9)
    cells = LabelCells("|")
    rows = []
    for number in range(1, count + 1):
        cell = cells.read("|".join(f"l{place}" for place in np.flatnonzero(random.random(8) < rates)))
        assert isinstance(cell, Cell)
        rows.append(Row("train", number, f"text {number}", cell.label))
    return rows


@pytest.mark.parametrize("seed", range(5))
def test_cuts_are_stratified_and_appended_rows_move_none(seed: int) -> None:
    cells, rows = LabelCells("|"), random_rows(1000, seed)

    def drawn(some: list[Row]) -> set[str]:
        units = row_units.of(some, strata=cells.strata(some))
        return {row.id for row in splits.cut_for_good(units, 0.2, seed=seed, purpose="test")[0].rows}

    test = drawn(rows)
    for count in (1, 2, 10, 100, 500):
        earlier = {row.id for row in rows[:count]}
        assert drawn(rows[:count]) == test & earlier
    every, left = (
        [name for row in some for name in cells.names(row.label)]
        for some in (rows, [row for row in rows if row.id not in test])
    )
    assert {*every} == {*left}, "each label stays in train"
    assert len(test) / len(rows) == pytest.approx(0.2, abs=0.03)
    for name in {*every}:
        assert left.count(name) / every.count(name) == pytest.approx(0.8, abs=0.1)


def test_a_rare_label_is_cut_in_proportion_to_its_rows() -> None:
    cells = LabelCells("|")
    for seed in range(20):
        rows = []
        for number in range(1, 201):
            cell = cells.read(f"common|rare {number % 5}" if number <= 50 else "common")
            assert isinstance(cell, Cell)
            rows.append(Row("train", number, f"text {number}", cell.label))
        units = row_units.of(rows, strata=cells.strata(rows))
        drawn, _ = splits.cut_for_good(units, 0.2, seed=seed, purpose="test")
        names = [name for row in drawn.rows for name in cells.names(row.label)]
        assert all(1 <= names.count(f"rare {number}") <= 3 for number in range(5)), "2 of 10, within one"


@pytest.mark.parametrize("policy", ["drop", "keep"])
def test_a_label_that_later_rows_make_common_moves_no_old_row(
    workplace: Path, settings: Settings, policy: str
) -> None:
    """Ten labels of one or two rows are taken out of them until appended rows bring them back."""
    common = ["war", "trade", "grain"]
    old = [(f"old {number}", [common[number % 3]]) for number in range(600)]
    for rare in range(18):
        old[rare * 31 + 5] = (f"old rare {rare}", [common[rare % 3], f"rare {rare % 10}"])
    new = [(f"new {number}", ["war", f"rare {number % 10}"]) for number in range(30)]
    seen = []
    for rows in (old, [*old, *new]):
        write_raw(train=as_csv(rows))
        clean.clean(RAW, TARGET, settings({"small_class": policy}), BAR)
        seen.append({row["id"] for row in pq.read_table(TARGET / "test.parquet").to_pylist()})
    before, after = seen
    kept = {f"train:{number}" for number in range(1, len(old) + 1)}
    assert before == after & kept
    assert len(before) / len(old) == pytest.approx(0.2, abs=0.03)


def many_labels(count: int, rows: int) -> list[tuple[str, list[str]]]:
    """Return rows with one of `count` labels each, `rows` of each label."""
    return [
        (f"text {number} of {label}", [f"label {label:03}"])
        for label in range(count)
        for number in range(rows)
    ]


def test_fewer_rows_than_labels_can_be_cut(workplace: Path, settings: Settings) -> None:
    """Labels too rare to be due a row are drawn from as one stratum, and each keeps rows in train."""
    write_raw(train=as_csv([*many_labels(200, 5), *((f"more {number}", []) for number in range(1000))]))
    count = {"kind": "count", "count": 30}
    report = clean.clean(RAW, TARGET, settings(validation=count, test=count), BAR)
    assert report["rows"]["clean"] == {"train": 1940, "val": 30, "test": 30}
    assert report["without_label"] == {"train": 970, "val": 15, "test": 15}
    for split in ("val", "test"):
        drawn = [int(name[-3:]) for name, parts in report["classes"].items() if parts[split]]
        assert len(drawn) >= 12 and 60 < np.mean(drawn) < 140, "not only the first labels"


def test_few_rows_of_many_labels_keep_each_of_them(workplace: Path, settings: Settings) -> None:
    """150 labels, five on each row: 120 rows of train and val hold two of each, not a row per label."""
    generator = np.random.default_rng(0)
    drawn = [generator.permutation(150)[:5] for _ in range(900)]
    write_raw(train=as_csv([(f"text {k}", [f"label {n:03}" for n in own]) for k, own in enumerate(drawn)]))
    share = {"kind": "share", "share": 0.2}
    report = clean.clean(RAW, TARGET, settings(limit={"train": 120, "test": None}, validation=share), BAR)
    assert report["rows"]["clean"]["train"] == 96 and report["rows"]["clean"]["val"] == 24
    assert len(report["classes"]) == 150
    assert all(parts["train"] for parts in report["classes"].values())


def test_a_limit_below_what_the_labels_take_says_how_many_rows_do(
    workplace: Path, settings: Settings
) -> None:
    write_raw(train=as_csv(many_labels(30, 10)))
    limit = {"train": 40, "test": None}
    with pytest.raises(
        DataError, match=r"(?s)got: +40 rows for 30 labels.*at least 60 rows, which hold 2 of each.*drop\n"
    ):
        clean.clean(RAW, TARGET, settings(limit=limit), BAR)


def test_drift_is_of_shares_of_rows(workplace: Path, settings: Settings) -> None:
    write_raw(
        train=as_csv(ROWS * 3),
        test=as_csv([(f"new {number}", ["war"] if number % 4 else ["trade", "war"]) for number in range(60)]),
    )
    drift = clean.clean(RAW, TARGET, settings(), BAR)["checks"]["drift"]
    # Shares of rows with war, trade, grain and no label. Train: 3/8, 1/2, 3/8, 1/4; test: 1, 1/4, 0, 0.
    assert drift["dissimilarity"] == pytest.approx((5 / 8 + 1 / 4 + 3 / 8 + 1 / 4) / (3 / 2 + 5 / 4))
    assert drift["p_value"] == 0.0005
    assert drift["found"] is True
    assert not {"chi_square", "total_variation"} & drift.keys()
    assert label_drift.text(drift).startswith("dissimilarity 0.545 (")


def test_drift_of_single_labels_is_that_of_classes() -> None:
    earlier, new = {"a": 90, "b": 10}, {"a": 50, "b": 50}
    as_sets = two_sample_tests.label_sets(
        {(name,): count for name, count in earlier.items()}, {(name,): count for name, count in new.items()}
    )
    of_classes = two_sample_tests.labels(earlier, new)
    assert as_sets.value == pytest.approx(of_classes.value) == pytest.approx(0.4)
    assert as_sets.chance == pytest.approx(of_classes.chance)
    assert two_sample_tests.label_sets({(): 5}, {(): 7}) == two_sample_tests.Distance(0.0, 0.0, 1.0)


@pytest.mark.parametrize(
    ("earlier", "new", "distance"),
    [
        # Each label becomes twice as frequent: |1/2 - 1| + |1/2 - 1| of 1/2 + 1/2 + 1 + 1.
        ({("a",): 50, ("b",): 50}, {("a", "b"): 80}, 1 / 3),
        ({(): 60, ("a",): 20, ("b",): 20}, {(): 20, ("a",): 40, ("b",): 40}, 0.4),
        ({("a",): 50}, {(): 50}, 1.0),
        ({("a",): 50}, {("(none)",): 50}, 1.0),
        ({(): 50}, {(): 10, ("a", "b"): 40}, (4 / 5 + 4 / 5 + 4 / 5) / (1 + 1 / 5 + 8 / 5)),
    ],
    ids=["twice", "less often none", "none any more", "named none", "none before"],
)
def test_drift_in_how_many_labels_rows_have(
    earlier: dict[tuple[str, ...], int], new: dict[tuple[str, ...], int], distance: float
) -> None:
    found = two_sample_tests.label_sets(earlier, new)
    assert found.value == pytest.approx(distance)
    assert found.p == 0.0005


def label_sets(
    random: np.random.Generator, rows: int, rates: NDArray[np.float64]
) -> Counter[tuple[str, ...]]:
    """Draw rows whose labels are independent, or come together if the first does."""
    given = random.random((rows, len(rates))) < rates
    given[:, 1] = given[:, 0]
    return Counter(tuple(f"label {place}" for place in np.flatnonzero(row)) for row in given)


@pytest.mark.parametrize("sizes", [(60, 600), (300, 30)])
def test_the_same_source_of_label_sets_is_seldom_called_drifted(sizes: tuple[int, int]) -> None:
    """The level is 5% over 100 tables; the value is that of SciPy's Bray-Curtis dissimilarity."""
    random, rates = np.random.default_rng(sizes), 0.5 / np.arange(1, 9)
    tables = [[label_sets(random, rows, rates) for rows in sizes] for _ in range(100)]
    found = [two_sample_tests.label_sets(*pair) for pair in tables]
    assert sum(one.p <= 0.05 for one in found) <= stats.binom.ppf(0.999, 100, 0.05)
    names = [f"label {place}" for place in range(8)]
    shares = [
        [sum(n for own, n in table.items() if name in own) / table.total() for name in names]
        + [table[()] / table.total()]
        for table in tables[0]
    ]
    assert found[0].value == pytest.approx(braycurtis(*shares))
    doubled = [label_sets(random, sizes[1], 2 * rates) for _ in range(10)]
    assert all(two_sample_tests.label_sets(tables[0][0], other).p < 0.01 for other in doubled)


def test_rows_are_drawn_with_all_their_labels() -> None:
    """Ten labels that always come together are no more evidence than one."""
    ours, theirs = (tuple(f"{letter}{number}" for number in range(10)) for letter in "ab")
    as_sets = two_sample_tests.label_sets({ours: 30, theirs: 70}, {ours: 38, theirs: 62})
    of_classes = two_sample_tests.labels({"a": 30, "b": 70}, {"a": 38, "b": 62})
    assert as_sets.value == pytest.approx(of_classes.value) == pytest.approx(0.08)
    assert (as_sets.chance, as_sets.p) == pytest.approx((of_classes.chance, of_classes.p))
    assert as_sets.p > 0.2


# ---- images ------------------------------------------------------------------------------------------------


def write_images(count: int) -> list[str]:
    Path("inbox").mkdir(exist_ok=True)
    random = np.random.default_rng(0)
    names = [f"{number}.png" for number in range(count)]
    for name in names:
        (Path("inbox") / name).write_bytes(saved(random.integers(0, 255, (8, 8), np.uint8)))
    return names


def fetch(form: dict[str, Any]) -> None:
    """Download the images that inbox/table lists, with columns text and label."""
    source = params.TableSource.model_validate(
        {
            "kind": "table",
            "content": "images",
            "files": {"train": "inbox/table"},
            "format": form,
            "folder": "inbox",
            "path_column": "text",
            "label_column": "label",
            "licence": "mine",
        },
        strict=False,
    )
    RAW.mkdir(parents=True)
    found = image_sources.fetch(source, RAW)
    files = {split: {"path": path} for split, (path, _) in found.items()}
    (RAW / "manifest.json").write_text(json.dumps({"files": files}))


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_tables_of_images_have_labels_too(
    workplace: Path, image_settings: Callable[..., params.ImagePreprocess], kind: str
) -> None:
    files = write_images(len(ROWS))
    rows = [(file, names) for file, (_, names) in zip(files, ROWS, strict=True)]
    form: dict[str, Any] = {"csv": CSV, "jsonl": {"kind": "jsonl", "encoding": "auto"}}.get(
        kind, {"kind": kind}
    )
    content: dict[str, Any] = {
        "csv": lambda: as_csv(rows).encode(),
        "jsonl": lambda: as_lines(rows).encode(),
        "parquet": lambda: as_parquet(rows),
    }
    Path("inbox/table").write_bytes(content[kind]())
    fetch(form)
    report = clean.clean(RAW, TARGET, image_settings(), BAR if kind == "csv" else LISTS)
    assert report["checks"]["malformed"]["rows"] == []
    spec = task_spec.read_file(TARGET)
    found = {
        row["name"]: [spec.names[place] for place in row["labels"]]
        for split in clean.SPLITS
        for row in pq.read_table(TARGET / f"{split}.parquet").to_pylist()
    }
    assert found == {file: sorted(names) for file, names in rows}


def test_a_list_among_names_of_classes_is_one_bad_row(
    workplace: Path, image_settings: Callable[..., params.ImagePreprocess]
) -> None:
    rows: list[tuple[str, Any]] = [(name, "ab"[place % 2]) for place, name in enumerate(write_images(20))]
    rows[6] = (rows[6][0], ["a", "b"])
    Path("inbox/table").write_text(as_lines(rows))
    fetch({"kind": "jsonl", "encoding": "auto"})
    checks = clean.clean(RAW, TARGET, image_settings(), CLASSES)["checks"]
    assert checks["malformed"]["reasons"] == {
        "train:7": "train/7: label is a list; one label a row is needed"
    }


def test_a_name_among_lists_is_one_bad_row(
    workplace: Path, image_settings: Callable[..., params.ImagePreprocess]
) -> None:
    rows: list[tuple[str, Any]] = [
        (name, ["a", "b"][: place % 3]) for place, name in enumerate(write_images(24))
    ]
    rows[6], rows[7], rows[9], rows[12] = (
        (rows[n][0], c) for n, c in ((6, "[]"), (7, "a"), (9, None), (12, ""))
    )
    Path("inbox/table").write_text(as_lines(rows) + json.dumps({"text": "0.png"}) + "\n")
    fetch({"kind": "jsonl", "encoding": "auto"})
    checks = clean.clean(RAW, TARGET, image_settings(), LISTS)["checks"]
    assert checks["malformed"]["reasons"] == {
        "train:8": "train/8: label 'a' is not a list, as most others are"
    }
    assert checks["missing_label"]["rows"] == ["train:10", "train:25"]


# ---- params ------------------------------------------------------------------------------------------------


def recipe(root: Path, name: str, **changes: Any) -> str:
    raw = params.read_raw(root / "recipes" / name)
    raw["task"] = {"kind": "labels", "separator": "|"}
    for key, value in changes.items():
        raw["preprocess"]["checks" if key == "small_class" else key] |= (
            {key: value} if key == "small_class" else value
        )
    path = Path("params.yaml")
    path.write_text(json.dumps(raw))
    with pytest.raises(ParamsError) as caught:
        params.read(path)
    return str(caught.value)


def test_what_needs_one_class_is_refused(workplace: Path, root: Path) -> None:
    for policy in ("train_only", {"other": "rest"}):
        message = recipe(root, "csv.yaml", small_class=policy)
        assert "preprocess.checks.small_class is " in message
        assert "but task.kind is labels: set it to fail or keep or drop" in message
    for name, kind in (("image-folder.yaml", "folder"), ("digits-vit.yaml", "digits")):
        message = recipe(root, name)
        assert f"source.kind is {kind}, but task.kind is labels: set source.kind to" in message
        knn = "evaluate.baselines.3 (features): knn gives each row one class, task.kind is labels" in message
        assert knn == (name == "image-folder.yaml"), "the other has none"
