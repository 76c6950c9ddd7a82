"""Rows without labels: what shots leave of train and a file of such rows, checked, and never a test text."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from baton import params
from baton.errors import DataError
from baton.tables import clean, text_key, unlabelled_rows, unlabelled_table
from tests.data_fixtures import CLASSES
from tests.raw_tables import RAW, csv, texts, write_raw

Settings = Callable[..., params.TextPreprocess]
TARGET = Path("data/clean")
TABLE = TARGET / "unlabelled.parquet"


def read(name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(TARGET / f"{name}.parquet").to_pylist()
    return rows


def keys(name: str) -> set[str]:
    return {text_key.key(row["text"]) for row in read(name)}


@pytest.fixture
def few(workplace: Path) -> None:
    """Raw files of 70 train and 12 test rows."""
    write_raw(
        train=("train.csv", csv(texts("train", pos=40, neg=27, rare=3))),
        test=("test.csv", csv(texts("test", pos=4, neg=4, rare=4))),
    )


# ---- what shots leave of train -----------------------------------------------------------------------------


def test_shots_leave_rows_without_labels(few: None, settings: Settings) -> None:
    report = clean.clean(RAW, TARGET, settings(shots=8), CLASSES)
    assert report["classes"] == {
        "neg": {"train": 6, "val": 2, "test": 4},
        "pos": {"train": 7, "val": 1, "test": 4},
        "rare": {"train": 2, "val": 1, "test": 4},
    }
    assert report["shots"] == {
        "rows_of_class": 8,
        "train": {"kept": 19, "left": 51, "smaller_classes": {"rare": 3}},
        "left_beside_validation": 0,
    }
    assert sum("'rare' (3)" in note for note in report["notes"]) == 1
    assert pq.read_schema(TABLE).names == ["id", "text"], "no column from which labels could leak"
    left = {row["id"] for row in read("unlabelled")}
    assert len(left) == 51 == report["unlabelled"]["rows"]
    assert left.isdisjoint(row["id"] for split in ("train", "val") for row in read(split))
    assert [row["id"] for row in read("unlabelled")] == sorted(left, key=lambda id_: int(id_.split(":")[1]))


def test_without_shots_and_files_nothing_is_written_or_reported(few: None, settings: Settings) -> None:
    report = clean.clean(RAW, TARGET, settings(), CLASSES)
    assert not TABLE.exists()
    assert "unlabelled" not in report and "shots" not in report


def test_more_shots_than_rows_leave_nothing(few: None, settings: Settings) -> None:
    report = clean.clean(RAW, TARGET, settings(shots=100), CLASSES)
    whole = clean.clean(RAW, TARGET, settings(), CLASSES)
    assert report["classes"] == whole["classes"] and not TABLE.exists()
    assert report["unlabelled"]["rows"] == 0


@pytest.mark.parametrize("share", [0.01, 0.2, 0.5])
@pytest.mark.parametrize("shots", [2, 3, 16])
def test_train_and_validation_have_each_class(
    few: None, settings: Settings, shots: int, share: float
) -> None:
    wanted = settings(shots=shots, validation={"kind": "share", "share": share})
    report = clean.clean(RAW, TARGET, wanted, CLASSES)
    assert all(counts["train"] and counts["val"] for counts in report["classes"].values())
    assert {label: counts["train"] + counts["val"] for label, counts in report["classes"].items()} == {
        "pos": min(shots, 40),
        "neg": min(shots, 27),
        "rare": min(shots, 3),
    }


def test_a_class_that_stays_in_train_keeps_its_rows_there(few: None, settings: Settings) -> None:
    rows = texts("train", pos=40, neg=27, single=1)
    write_raw(train=("train.csv", csv(rows)), test=("test.csv", csv(texts("test", pos=4, neg=4, single=1))))
    report = clean.clean(RAW, TARGET, settings({"small_class": "train_only"}, shots=4), CLASSES)
    assert report["classes"]["single"] == {"train": 1, "val": 0, "test": 1}
    assert report["classes"]["pos"] == {"train": 3, "val": 1, "test": 4}


def test_the_draws_of_one_seed_are_nested_and_a_rerun_gives_the_same_bytes(
    few: None, settings: Settings
) -> None:
    def drawn(**changes: Any) -> set[str]:
        clean.clean(RAW, TARGET, settings(**changes), CLASSES)
        return {row["id"] for split in ("train", "val") for row in read(split)}

    assert drawn(shots=2) < drawn(shots=8) < drawn(shots=16)
    assert drawn(shots=8) != drawn(shots=8, seed=1)
    drawn(shots=8)
    before = {path.name: path.read_bytes() for path in TARGET.iterdir()}
    drawn(shots=8)
    assert {path.name: path.read_bytes() for path in TARGET.iterdir()} == before


def test_a_limit_counts_all_rows_with_labels_and_without(few: None, settings: Settings) -> None:
    report = clean.clean(RAW, TARGET, settings(shots=4, limit={"train": 30, "test": None}), CLASSES)
    assert report["limited"]["train"] == 40
    assert sum(len(read(name)) for name in ("train", "val", "unlabelled")) == 30


def test_a_validation_file_keeps_as_many_rows_of_each_class(few: None, settings: Settings) -> None:
    write_raw(
        train=("train.csv", csv(texts("train", pos=40, neg=27))),
        val=("val.csv", csv(texts("val", pos=20, neg=20))),
        test=("test.csv", csv(texts("test", pos=4, neg=4))),
    )
    report = clean.clean(RAW, TARGET, settings(shots=8), CLASSES)
    assert report["rows"]["clean"] == {"train": 16, "val": 16, "test": 8}
    assert report["shots"]["val"] == {"kept": 16, "left": 24, "smaller_classes": {}}
    assert any("applies to val too" in note for note in report["notes"])
    assert all(row["id"].startswith("train:") for row in read("unlabelled"))
    assert len(read("unlabelled")) == 51


def test_groups_of_validation_are_not_learnt_from(workplace: Path, settings: Settings) -> None:
    rows = [
        (f"{label} {number}", label, f"{label}{number // 6}")
        for label in ("pos", "neg")
        for number in range(60)
    ]
    write_raw(
        train=("train.csv", csv(rows, "text,label,author")),
        test=("test.csv", csv([("x", "pos", "p"), ("y", "neg", "n")], "text,label,author")),
    )
    author = {text: group for text, _, group in rows}
    report = clean.clean(RAW, TARGET, settings(shots=8, group_column="author"), CLASSES)
    of = {name: {author[row["text"]] for row in read(name)} for name in ("train", "val", "unlabelled")}
    assert of["val"] and of["val"].isdisjoint(of["train"] | of["unlabelled"])
    beside = report["shots"]["left_beside_validation"]
    assert beside >= 5 * len(of["val"]) and len(read("unlabelled")) == 120 - 16 - beside
    assert report["unlabelled"]["origins"]["train"]["dropped"] == {"beside validation": beside}


def test_a_cut_by_time_comes_before_shots(workplace: Path, settings: Settings) -> None:
    rows = [(f"text {n}", "pn"[n % 2], f"2024-01-{1 + n // 4:02}") for n in range(100)]
    write_raw(train=("train.csv", csv(rows, "text,label,day")))
    report = clean.clean(RAW, TARGET, settings(shots=4, time_column="day"), CLASSES)
    assert report["rows"]["clean"] == {"train": 8, "val": 8, "test": 20}
    day = {text: day for text, _, day in rows}
    latest = max(day[row["text"]] for name in ("train", "unlabelled") for row in read(name))
    assert (
        latest < min(day[row["text"]] for row in read("val")) < min(day[row["text"]] for row in read("test"))
    )


def test_images_have_shots_but_no_rows_without_labels(
    workplace: Path, image_settings: Callable[..., params.ImagePreprocess]
) -> None:
    from tests.lifecycle import pictures

    RAW.mkdir(parents=True)
    drawn = pictures.draw(60)
    columns = {
        "name": [f"{n}.png" for n in range(len(drawn))],
        "image": [image for image, _ in drawn],
        "label": [str(label) for _, label in drawn],
    }
    pq.write_table(pa.table(columns), RAW / "train.parquet")
    (RAW / "manifest.json").write_text(json.dumps({"files": {"train": {"path": "train.parquet"}}}))
    report = clean.clean(RAW, TARGET, image_settings(shots=4), CLASSES)
    assert Counter(report["rows"]["clean"])["train"] + report["rows"]["clean"]["val"] == 4 * len(
        report["classes"]
    )
    left = report["shots"]["train"]["left"]
    assert f"{left} rows of train are left out: of images none are used" in "".join(report["notes"])
    assert not TABLE.exists() and "unlabelled" not in report


# ---- a file of rows without labels -------------------------------------------------------------------------

TRAIN = csv(texts("train", pos=20, neg=20))
TEST = csv([*texts("test", pos=4, neg=4), ("Secret  text", "pos")])
MORE = [
    *((f"more {n}",) for n in range(30)),
    ("secret text",),  # 31: in test, but for case and white space
    ("train pos 3",),  # 32: in train or val
    ("MORE 4",),  # 33: in row 5
    ("   ",),  # 34
    ("schÃ¶n",),  # 35
]


def write_more(name: str, content: bytes) -> None:
    write_raw(train=("train.csv", TRAIN), test=("test.csv", TEST), unlabelled=(name, content))


def test_a_file_is_checked_and_no_text_of_a_split_is_kept(workplace: Path, settings: Settings) -> None:
    write_more("unlabelled.csv", csv(MORE, "text") + b"caf\xe9\n" + b'"broken\n')  # rows 36 and 37
    dropped = dict.fromkeys(("invalid_utf8", "empty"), "drop")
    report = clean.clean(RAW, TARGET, settings(dropped), CLASSES)
    assert [row["id"] for row in read("unlabelled")] == [f"unlabelled:{n}" for n in (*range(1, 31), 35)]
    assert keys("unlabelled").isdisjoint(keys("train") | keys("val") | keys("test"))
    own = report["unlabelled"]["origins"]["unlabelled"]
    where = next(split for split in ("train", "val") if "train pos 3" in keys(split))
    assert (report["unlabelled"]["rows"], own["rows"], own["kept"]) == (31, 37, 31)
    assert own["dropped"] == {
        "invalid_utf8": 1,
        "empty": 1,
        "malformed": 1,
        "in test": 1,
        f"in {where}": 1,
        "duplicate": 1,
    }
    assert own["found"] == own["dropped"] | {"mojibake": 1}
    assert own["first"]["in test"] == {"unlabelled:31": "its text is in test"}
    assert list(own["first"]["mojibake"]) == ["unlabelled:35"]
    assert "unlabelled" not in report["rows"]["raw"], "it is no split"


def test_a_text_that_is_in_no_split_is_kept(workplace: Path, settings: Settings) -> None:
    """The control of the test above: the same row, with a test file that lacks its text."""
    write_raw(
        train=("train.csv", TRAIN),
        test=("test.csv", csv(texts("test", pos=4, neg=4))),
        unlabelled=("unlabelled.csv", csv([("secret text",)], "text")),
    )
    clean.clean(RAW, TARGET, settings(), CLASSES)
    assert [row["text"] for row in read("unlabelled")] == ["secret text"]


def test_labels_in_the_file_are_ignored(workplace: Path, settings: Settings) -> None:
    content = csv([("more 1", "pos"), ("more 2", "unheard of"), ("more 3", "")])
    write_more("unlabelled.csv", content)
    clean.clean(RAW, TARGET, settings(label_names={"pos": "good", "neg": "bad"}), CLASSES)
    assert pq.read_schema(TABLE).names == ["id", "text"]
    assert [row["text"] for row in read("unlabelled")] == ["more 1", "more 2", "more 3"]
    names = json.loads((TARGET / "task.json").read_text())["names"]
    assert names == ["bad", "good"]


@pytest.mark.parametrize("content", [b"pos\tmore 1\nneg\tmore 2\n", b"more 1\nmore 2\n"])
def test_a_file_without_header_may_lack_the_label(
    workplace: Path, settings: Settings, content: bytes
) -> None:
    form = settings().format.model_dump() | {"delimiter": "\t", "columns": ["label", "text"]}
    rows = "".join(f"{label}\t{label} {n}\n" for label in ("pos", "neg") for n in range(10)).encode()
    write_raw(train=("train.csv", rows), unlabelled=("unlabelled.csv", content))
    clean.clean(RAW, TARGET, settings(format=form), CLASSES)
    assert [row["text"] for row in read("unlabelled")] == ["more 1", "more 2"]


def test_lines_with_a_field_too_few_are_malformed_where_the_label_is_read(
    workplace: Path, settings: Settings
) -> None:
    form = settings().format.model_dump() | {"delimiter": "\t", "columns": ["label", "text"]}
    rows = "".join(f"{label}\t{label} {n}\n" for label in ("pos", "neg") for n in range(10)).encode()
    write_raw(train=("train.csv", rows + b"one field\n"))
    report = clean.clean(RAW, TARGET, settings(format=form), CLASSES)
    assert report["checks"]["malformed"]["found"] == {"train": 1}


def parquet(**columns: list[Any]) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink)
    return bytes(sink.getvalue())


JSONL = {"kind": "jsonl", "encoding": "auto"}
LINES = {"kind": "lines", "encoding": "auto", "skip_lines": 0, "pattern": r"(?P<label>\w*)\|(?P<text>.*)"}
LABELS = [label for label in ("pos", "neg") for _ in range(10)]
WORDS = [f"text {n}" for n in range(20)]


@pytest.mark.parametrize(
    ("form", "train", "more"),
    [
        (JSONL, [{"text": t, "label": n} for t, n in zip(WORDS, LABELS, strict=True)], None),
        (LINES, "".join(f"{n}|{t}\n" for t, n in zip(WORDS, LABELS, strict=True)).encode(), b"|a\n|b\n|c\n"),
        (
            {"kind": "parquet"},
            parquet(text=WORDS, label=LABELS),
            parquet(text=["a", "b", "c"]),
        ),
    ],
    ids=["jsonl", "lines", "parquet"],
)
def test_other_formats(workplace: Path, settings: Settings, form: Any, train: Any, more: Any) -> None:
    if form is JSONL:
        train = "".join(json.dumps(row) + "\n" for row in train).encode()
        more = "".join(json.dumps({"text": text}) + "\n" for text in "abc").encode()
    write_raw(train=("train.x", train), unlabelled=("unlabelled.x", more))
    clean.clean(RAW, TARGET, settings(format=form), CLASSES)
    assert [row["text"] for row in read("unlabelled")] == ["a", "b", "c"]


def test_a_folder_of_documents(workplace: Path, settings: Settings) -> None:
    files = {f"train/{label}/{n}.txt": f"{label} {n}" for label in ("pos", "neg") for n in range(10)}
    files |= {"unlabelled/a.txt": "more a", "unlabelled/deep/b.txt": "more b"}
    for name, text in files.items():
        (RAW / name).parent.mkdir(parents=True, exist_ok=True)
        (RAW / name).write_text(text)
    entries = {name: {"path": name} for name in ("train", "unlabelled")}
    (RAW / "manifest.json").write_text(json.dumps({"files": entries}))
    form = {"kind": "documents", "encoding": "auto"}
    clean.clean(RAW, TARGET, settings(format=form, label_column="folder"), CLASSES)
    assert [row["text"] for row in read("unlabelled")] == ["more a", "more b"]


def test_pairs(workplace: Path, settings: Settings) -> None:
    rows = [(f"{label} {n}", f'"other {n}"', label) for label in ("pos", "neg") for n in range(10)]
    more = [("pos 1", '"other 1"'), ("pos 1", '"other 2"'), ("pos 1", '" "'), ("new", '"pair"')]
    write_raw(
        train=("train.csv", csv(rows, "text,second,label")),
        unlabelled=("unlabelled.csv", csv(more, "text,second")),
    )
    wanted = settings({"empty": "drop"}, text_pair_column="second")
    report = clean.clean(RAW, TARGET, wanted, CLASSES)
    assert read("unlabelled") == [
        {"id": "unlabelled:2", "text": "pos 1", "text_pair": "other 2"},
        {"id": "unlabelled:4", "text": "new", "text_pair": "pair"},
    ]
    assert report["unlabelled"]["origins"]["unlabelled"]["dropped"]["empty"] == 1


def test_rows_of_train_come_first_and_are_not_repeated(workplace: Path, settings: Settings) -> None:
    write_more("unlabelled.csv", csv([("train pos 3",), ("train pos 4",), ("more",)], "text"))
    report = clean.clean(RAW, TARGET, settings(shots=2), CLASSES)
    found = [row["id"] for row in read("unlabelled")]
    assert found[-1] == "unlabelled:3" and all(id_.startswith("train:") for id_ in found[:-1])
    assert len({text_key.key(row["text"]) for row in read("unlabelled")}) == len(found) == 40 - 4 + 1
    dropped = report["unlabelled"]["origins"]["unlabelled"]["dropped"]
    assert sum(dropped.values()) == 2


def test_numbers_and_labels_have_such_rows_too(workplace: Path, settings: Settings) -> None:
    more = ("unlabelled.csv", b"text\nmore 1\nmore 2\n")
    rows = [(f"text {n}", f"{n / 7:.3f}") for n in range(20)]
    write_raw(train=("train.csv", csv(rows)), unlabelled=more)
    task: Any = params.NumbersTask(kind="numbers", loss="mse", coverage=0.9)
    clean.clean(RAW, TARGET, settings(), task)
    assert [row["text"] for row in read("unlabelled")] == ["more 1", "more 2"]
    write_raw(train=("train.csv", csv([(f"t {n}", "ab"[n % 2]) for n in range(30)])), unlabelled=more)
    clean.clean(RAW, TARGET, settings(), params.LabelsTask(kind="labels", separator="|"))
    assert [row["text"] for row in read("unlabelled")] == ["more 1", "more 2"]


@pytest.mark.parametrize("portion", [1, 2, 7, 40])
def test_portions_change_nothing(
    workplace: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch, portion: int
) -> None:
    """Neither what is kept nor what readers say of a file whose rows are no longer there."""
    lines = [json.dumps({"text": f"more {n % 25}"}) for n in range(40)] + ['{"a": 1} {"b": 2}']
    rows = [json.dumps({"text": t, "label": n}) for t, n in zip(WORDS, LABELS, strict=True)]
    write_raw(
        train=("train.jsonl", "\n".join(rows).encode()),
        unlabelled=("unlabelled.jsonl", "\n".join(lines).encode()),
    )
    report = clean.clean(RAW, TARGET, settings(format=JSONL), CLASSES)
    whole = read("unlabelled")
    monkeypatch.setattr(unlabelled_rows, "PORTION", portion)
    monkeypatch.setattr(unlabelled_table, "ROW_GROUP", portion)
    most = 0

    class Watched(unlabelled_rows.Portions):
        def add(self, *values: Any) -> None:
            nonlocal most
            super().add(*values)
            most = max(most, len(self.rows))

    monkeypatch.setattr(unlabelled_rows, "Portions", Watched)
    assert clean.clean(RAW, TARGET, settings(format=JSONL), CLASSES) == report
    assert read("unlabelled") == whole and len(whole) == 25
    assert most < portion, "rows do not pile up"
    lines = ["|a", "no match", *(f"|b {n}" for n in range(9))]
    write_raw(
        train=("train.x", "".join(f"{n}|{t}\n" for t, n in zip(WORDS, LABELS, strict=True)).encode()),
        unlabelled=("unlabelled.x", "\n".join(lines).encode()),
    )
    clean.clean(RAW, TARGET, settings(format=LINES), CLASSES)
    assert len(read("unlabelled")) == 10


def refused(settings: params.TextPreprocess) -> str:
    with pytest.raises(DataError) as caught:
        clean.clean(RAW, TARGET, settings, CLASSES)
    assert {path.name for path in Path("data").iterdir()} == {"raw"}, "no partial output"
    message = str(caught.value)
    assert all(part in message for part in ("got:", "expected:", "next:"))
    return message


def test_a_check_that_fails_stops_the_stage(workplace: Path, settings: Settings) -> None:
    write_more("unlabelled.csv", csv(MORE, "text") + b"caf\xe9\n")
    message = refused(settings({"empty": "fail", "invalid_utf8": "fail"}))
    assert "the rows without labels of data/raw/unlabelled.csv cannot be used" in message
    assert "invalid_utf8: 1 rows: unlabelled:36 (byte 0xe9" in message
    assert "empty: 1 rows: unlabelled:34 (white space)" in message


def test_a_file_that_loses_too_many_rows_stops_the_stage(workplace: Path, settings: Settings) -> None:
    content = csv([(f"more {n}",) for n in range(20)], "text") + b"a,b\n" * 5
    write_more("unlabelled.csv", content)
    limits = {"rows": 0.01, "rows_of_class": 1.0}
    message = refused(settings(max_dropped=limits))
    assert "it loses 5 of 25 rows, more than preprocess.max_dropped.rows allows (1%)" in message
    assert "malformed: 5 rows: unlabelled:21 (line 22: 2 fields instead of 1)" in message
    write_more("unlabelled.csv", csv([("more",)] * 20, "text"))
    report = clean.clean(RAW, TARGET, settings(max_dropped=limits), CLASSES)
    assert report["unlabelled"]["rows"] == 1, "repeated rows do not count"


@pytest.mark.parametrize(
    ("content", "part"),
    [(b"Text\na\n", "no column 'text'"), (b"", "is empty"), (b"text\n", "has no rows")],
)
def test_a_file_that_cannot_be_read_is_named(
    workplace: Path, settings: Settings, content: bytes, part: str
) -> None:
    write_more("unlabelled.csv", content)
    assert f"unlabelled.csv {part}".replace("no column", "has no column") in refused(settings())


def test_a_file_without_a_new_text_leaves_no_table(workplace: Path, settings: Settings) -> None:
    write_more("unlabelled.csv", csv([("train pos 1",), ("SECRET text",)], "text"))
    report = clean.clean(RAW, TARGET, settings(), CLASSES)
    assert report["unlabelled"]["rows"] == 0 and not TABLE.exists()
