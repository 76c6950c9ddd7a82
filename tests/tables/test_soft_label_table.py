"""Soft labels from a file: matched to rows that a student learns from, and never to a row of val or test."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from baton import params
from baton.contracts import predictions
from baton.errors import DataError
from baton.tables import clean, soft_label_table, text_key
from tests.data_fixtures import CLASSES
from tests.raw_tables import RAW, csv, texts, write_raw

Settings = Callable[..., params.TextPreprocess]
TARGET = Path("data/clean")
TABLE = TARGET / "soft_labels.parquet"
TRAIN, TEST, VAL = (texts(name, pos=10, neg=8) for name in ("train", "test", "val"))


def given(name: str, content: bytes, **files: tuple[str, bytes]) -> None:
    """Write raw files of 18 rows each, two rows without labels, and soft labels."""
    own = {
        "train": ("train.csv", csv(TRAIN)),
        "val": ("val.csv", csv(VAL)),
        "test": ("test.csv", csv(TEST)),
        "unlabelled": ("unlabelled.csv", csv([("more 1",), ("more 2",)], "text")),
    }
    write_raw(**(own | files | {"soft_labels": (name, content)}))


def read() -> dict[str, list[float]]:
    """Return id -> probabilities."""
    ids, logits = predictions.read_predictions(TABLE)
    assert isinstance(logits, np.ndarray)
    return dict(zip(ids, np.exp(logits.astype(np.float64)).tolist(), strict=True))


def close(found: list[float], *wanted: float) -> bool:
    return bool(np.allclose(found, wanted, atol=2e-6))


def refused(settings: params.TextPreprocess) -> str:
    with pytest.raises(DataError) as caught:
        clean.clean(RAW, TARGET, settings, CLASSES)
    assert {path.name for path in Path("data").iterdir()} == {"raw"}, "no partial output"
    message = str(caught.value)
    assert all(part in message for part in ("got:", "expected:", "next:"))
    return message


# ---- what is written ---------------------------------------------------------------------------------------

WEIGHTS = [
    ("train pos 3", "0.9", "0.1"),  # 1
    ("More  2", "1", "3"),  # 2: in case and white space as in the other file
    ("TRAIN neg 0", "0", "7"),  # 3
    ("test pos 1", "0.5", "0.5"),  # 4
    ("val pos 1", "0.5", "0.5"),  # 5
    ("nowhere", "0.5", "0.5"),  # 6
    ("train neg 1", "2", "2"),  # 7
]


def test_weights_become_log_probabilities_of_train_and_then_unlabelled(
    workplace: Path, settings: Settings
) -> None:
    given("soft_labels.csv", csv(WEIGHTS, "text,pos,neg"))
    report = clean.clean(RAW, TARGET, settings(), CLASSES)["soft_labels"]
    assert json.loads((TARGET / "task.json").read_text())["names"] == ["neg", "pos"]
    found = read()
    assert list(found) == ["train:4", "train:11", "train:12", "unlabelled:2"], "in the order of the tables"
    assert close(found["train:4"], 0.1, 0.9)
    assert found["train:11"] == pytest.approx([1, 1e-6], rel=1e-5), "0 is the least probability"
    assert close(found["train:12"], 0.5, 0.5)
    assert close(found["unlabelled:2"], 0.75, 0.25)
    assert report["rows"] == 7
    assert report["dropped"] == {"in test": 1, "in val": 1, "unmatched": 1}
    assert report["train"] == {"rows": 18, "found": 3} and report["agreement"] == pytest.approx(2 / 3)
    assert report["unlabelled"] == {"rows": 2, "found": 1}
    assert report["classes"] == {
        "neg": {"rows": 8, "found": 2, "agreement": 0.5},
        "pos": {"rows": 10, "found": 1, "agreement": 1.0},
    }, "a class that is as probable as another is no answer"
    (remark,) = report["remarks"]
    assert remark.startswith("data/raw/soft_labels.csv: 1 of 7 rows match no row that a student learns from")
    assert remark.endswith("the first is soft_labels:6 ('nowhere')")
    assert json.loads((TARGET / "report.json").read_text())["soft_labels"] == report


def test_without_a_file_nothing_is_written_or_reported(workplace: Path, settings: Settings) -> None:
    write_raw(train=("train.csv", csv(TRAIN)))
    assert "soft_labels" not in clean.clean(RAW, TARGET, settings(), CLASSES)
    assert not TABLE.exists()


def test_a_rerun_gives_the_same_bytes(workplace: Path, settings: Settings) -> None:
    given("soft_labels.csv", csv(WEIGHTS, "text,pos,neg"))
    clean.clean(RAW, TARGET, settings(), CLASSES)
    before = {path.name: path.read_bytes() for path in TARGET.iterdir()}
    clean.clean(RAW, TARGET, settings(), CLASSES)
    assert {path.name: path.read_bytes() for path in TARGET.iterdir()} == before


def test_soft_labels_change_no_other_table(workplace: Path, settings: Settings) -> None:
    given("soft_labels.csv", csv(WEIGHTS, "text,pos,neg"))
    clean.clean(RAW, TARGET, settings(), CLASSES)
    before = {path.name: path.read_bytes() for path in TARGET.iterdir() if path.name != "report.json"}
    files = json.loads((RAW / "manifest.json").read_text())["files"]
    files.pop("soft_labels")
    (RAW / "manifest.json").write_text(json.dumps({"files": files}))
    clean.clean(RAW, TARGET, settings(), CLASSES)
    after = {path.name: path.read_bytes() for path in TARGET.iterdir() if path.name != "report.json"}
    assert after == {name: content for name, content in before.items() if name != TABLE.name}


@pytest.mark.parametrize("split", ["val", "test"])
def test_nothing_is_learnt_of_a_text_of_val_or_test_even_if_it_is_in_train_too(
    workplace: Path, settings: Settings, split: str
) -> None:
    """The policy `keep` of the check `leakage` leaves such a row in train."""
    twin = (f"{split}.csv", csv([*texts(split, pos=3, neg=3), ("train POS 3", "pos")]))
    given("soft_labels.csv", csv(WEIGHTS, "text,pos,neg"), **{split: twin})
    report = clean.clean(RAW, TARGET, settings({"leakage": "keep"}), CLASSES)
    assert "train:4" in pq.read_table(TARGET / "train.parquet")["id"].to_pylist()
    assert "train:4" not in read()
    assert report["soft_labels"]["dropped"][f"in {split}"] == 2


def test_cut_splits_and_what_shots_leave(workplace: Path, settings: Settings) -> None:
    """Of all rows of a file that is then cut, those of train and those without labels have soft labels."""
    rows = texts("train", pos=40, neg=40)
    write_raw(
        train=("train.csv", csv(rows)),
        soft_labels=("soft_labels.csv", csv([(text, label, "0.5") for text, label in rows], "text,label,x")),
    )
    report = clean.clean(RAW, TARGET, settings(shots=6), CLASSES)["soft_labels"]
    learnt = [pq.read_table(TARGET / f"{name}.parquet")["id"].to_pylist() for name in ("train", "unlabelled")]
    assert list(read()) == learnt[0] + learnt[1]
    assert report["dropped"] == {"in test": 16, "in val": 12 - len(learnt[0])}
    assert report["agreement"] == 1.0


def test_each_row_with_the_text_gets_the_label(workplace: Path, settings: Settings) -> None:
    """Rows of one text and different classes stay if the check `conflict` keeps them."""
    train = ("train.csv", csv([*TRAIN, ("train pos 3", "neg")]))
    given("soft_labels.csv", csv(WEIGHTS[:1], "text,pos,neg"), train=train)
    report = clean.clean(RAW, TARGET, settings(), CLASSES)["soft_labels"]
    assert list(read()) == ["train:4", "train:19"]
    assert report["agreement"] == 0.5


def test_pairs_match_with_both_texts(workplace: Path, settings: Settings) -> None:
    rows = [(f"{label} {n}", f'"other {n}"', label) for label in ("pos", "neg") for n in range(10)]
    soft = [
        ("pos 1", '"other  1"', "1", "0"),
        ("pos 1", '"other 2"', "1", "0"),
        ("POS 5", '"other 6"', "1", "0"),
    ]
    given(
        "soft_labels.csv",
        csv(soft, "text,second,pos,neg"),
        train=("train.csv", csv(rows, "text,second,label")),
        val=("val.csv", csv([("v", "w", "pos"), ("x", "y", "neg")], "text,second,label")),
        test=("test.csv", csv([("t", "u", "pos"), ("r", "s", "neg")], "text,second,label")),
        unlabelled=("unlabelled.csv", csv([("pos 5", '"other 6"')], "text,second")),
    )
    report = clean.clean(RAW, TARGET, settings(text_pair_column="second"), CLASSES)["soft_labels"]
    assert list(read()) == ["train:2", "unlabelled:1"]
    assert report["dropped"] == {"unmatched": 1}


def test_several_columns_of_text_are_joined_as_in_train(workplace: Path, settings: Settings) -> None:
    rows = [(f"title {n}", f'"body {n}"', "pn"[n % 2]) for n in range(20)]
    write_raw(
        train=("train.csv", csv(rows, "title,body,label")),
        val=("val.csv", csv([("v", "w", "p"), ("x", "y", "n")], "title,body,label")),
        test=("test.csv", csv([("t", "u", "p"), ("r", "s", "n")], "title,body,label")),
        soft_labels=("soft_labels.csv", csv([("title 4", '"body 4"', "p")], "title,body,label")),
    )
    clean.clean(RAW, TARGET, settings(text_column=["title", "body"]), CLASSES)
    assert list(read()) == ["train:5"]


def test_bytes_that_are_not_utf8_match_as_they_are_kept(workplace: Path, settings: Settings) -> None:
    content = csv(TRAIN) + b"caf\xe9,pos\n"
    given("soft_labels.csv", b"text,label\ncaf\xe9,pos\n", train=("train.csv", content))
    clean.clean(RAW, TARGET, settings(), CLASSES)
    assert list(read()) == ["train:19"]


# ---- texts that are given several times --------------------------------------------------------------------


def test_different_labels_of_a_text_are_averaged_with_a_note(workplace: Path, settings: Settings) -> None:
    rows = [
        ("more 1", "1", "0"),
        ("more 2", "3", "1"),
        ("MORE 1", "1", "3"),
        ("more 2", "0.75", "0.25"),  # the same probabilities
        ("more 1", "1", "1"),
    ]
    given("soft_labels.csv", csv(rows, "text,pos,neg"))
    report = clean.clean(RAW, TARGET, settings(), CLASSES)["soft_labels"]
    assert close(read()["unlabelled:1"], 1.25 / 3, 1.75 / 3)
    assert close(read()["unlabelled:2"], 0.25, 0.75)
    assert report["averaged"] == 1
    (remark,) = report["remarks"]
    assert "1 texts are given several times with different labels, of which the mean is taken; the" in remark
    assert remark.endswith("the first such row is soft_labels:3")


def test_equal_labels_of_a_text_need_no_note(workplace: Path, settings: Settings) -> None:
    given("soft_labels.csv", csv([("more 1", "pos"), ("more 1", "pos")]))
    report = clean.clean(RAW, TARGET, settings(), CLASSES)["soft_labels"]
    assert report["averaged"] == 0 and report["remarks"] == []


@pytest.mark.parametrize("seed", range(3))
def test_averages_are_those_of_a_loop(seed: int) -> None:
    random = np.random.default_rng(seed)
    said = random.dirichlet(np.ones(4), 50)
    digests = [bytes([one]) for one in random.integers(0, 12, 50)]
    places, means, differing = soft_label_table.averaged(digests, said)
    assert list(places) == list(dict.fromkeys(digests))
    for own, place in places.items():
        rows = [row for row, one in zip(said, digests, strict=True) if one == own]
        assert means[place] == pytest.approx(np.mean(rows, axis=0))
    assert differing == [row for row, own in enumerate(digests) if own in digests[:row]]


# ---- formats -----------------------------------------------------------------------------------------------


def jsonl(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def parquet(**columns: list[Any]) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink)
    return bytes(sink.getvalue())


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (
            "a.jsonl",
            jsonl([{"text": "more 1", "pos": 3, "neg": 1.0}, {"neg": 1, "pos": 0, "text": "more 2"}]),
        ),
        ("a.parquet", parquet(text=["more 1", "more 2"], neg=[0.25, 1], pos=[0.75, 0])),
        ("a.CSV", b"text;neg;pos\nmore 1;1;3\nmore 2;2e-3;0\n"),
        ("a.tsv", b"neg\ttext\tpos\n1\tmore 1\t3\n.5\tmore 2\t0\n"),
    ],
)
@pytest.mark.parametrize("form", [None, {"kind": "lines", "encoding": "auto", "skip_lines": 0}])
def test_the_name_says_how_the_file_is_read(
    workplace: Path, settings: Settings, name: str, content: bytes, form: dict[str, Any] | None
) -> None:
    lines: dict[str, tuple[str, bytes]] = {}
    changes: dict[str, Any] = {}
    if form is not None:
        changes = {"format": form | {"pattern": r"(?P<label>\w*)\|(?P<text>.*)"}}
        for split, rows in (("train", TRAIN), ("val", VAL), ("test", TEST)):
            lines[split] = ("a", "".join(f"{label}|{text}\n" for text, label in rows).encode())
        lines = {split: (f"{split}.txt", content) for split, (_, content) in lines.items()}
        lines["unlabelled"] = ("unlabelled.txt", b"|more 1\n|more 2\n")
    given(f"soft_labels{Path(name).suffix}", content, **lines)
    clean.clean(RAW, TARGET, settings(**changes), CLASSES)
    found = read()
    assert list(found) == ["unlabelled:1", "unlabelled:2"]
    assert close(found["unlabelled:1"], 0.25, 0.75) and close(found["unlabelled:2"], 1, 0)


@pytest.mark.parametrize(
    ("name", "content", "part"),
    [
        ("soft_labels.csv", b"", "soft_labels.csv is empty"),
        ("soft_labels.csv", b"text,label\n", "soft_labels.csv has no rows"),
        ("soft_labels.csv", b"more 1,pos\n", "soft_labels.csv has no column 'text'"),
        ("soft_labels.csv", b"text,text,label\na,b,pos\n", "has 2 columns named 'text'"),
        ("soft_labels.jsonl", b'[{"text": "a"}]', "is one JSON document, a list"),
        ("soft_labels.jsonl", b"text,label\na,pos\n", "soft_labels.jsonl has no column 'text'"),
        ("soft_labels.parquet", b"text,label\na,pos\n", "is not a readable Parquet file"),
        ("soft_labels.parquet", parquet(text=["a"], pos=[[1]], neg=[[1]]), "does not contain single values"),
        ("soft_labels/a.csv", b"text,label\na,pos\n", "data/raw/soft_labels is a folder"),
    ],
)
def test_a_file_that_is_no_table_is_named(
    workplace: Path, settings: Settings, name: str, content: bytes, part: str
) -> None:
    given(name, content)
    message = refused(settings())
    assert part in message and "preprocess.format" not in message


# ---- nothing matches ---------------------------------------------------------------------------------------


def test_a_file_without_a_text_to_learn_from_is_refused(workplace: Path, settings: Settings) -> None:
    rows = [("nowhere", "pos"), ("test pos 1", "pos"), ("elsewhere", "neg")]
    given("soft_labels.csv", csv(rows))
    message = refused(settings())
    assert "data/raw/soft_labels.csv: no row has a text of train, or of the rows without labels" in message
    assert (
        "got:      3 rows: 1 in test, 2 unmatched; the first unmatched one is soft_labels:1 ('now" in message
    )
    given("soft_labels.csv", csv(rows[1:2], "text,label"))
    assert "got:      1 rows: 1 in test\n" in refused(settings())
    given("soft_labels.csv", csv([("nowhere", "1", "2")], "text,pos,neg"))
    assert "no row has a text of train" in refused(settings())


def test_only_texts_that_are_the_same_match(workplace: Path, settings: Settings) -> None:
    given("soft_labels.csv", csv([("more 1.", "pos"), ("more 2", "pos"), ("more", "pos")]))
    report = clean.clean(RAW, TARGET, settings(), CLASSES)["soft_labels"]
    assert list(read()) == ["unlabelled:2"]
    assert report["dropped"] == {"unmatched": 2}
    assert text_key.key("more 1.") != text_key.key("more 1")
