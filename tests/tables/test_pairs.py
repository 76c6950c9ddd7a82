"""Pairs of texts: both are read and written, and every check takes the pair as the row's text."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from baton import params
from baton.errors import DataError
from baton.tables import clean
from tests.data_fixtures import CLASSES

Settings = Callable[..., params.TextPreprocess]
RAW, TARGET = Path("data/raw"), Path("data/clean")
Rows = list[tuple[str | None, str | None, str]]
FILLERS: Rows = [
    (f"what is number {n}", f"it is {n} and {label}", label) for label in "ab" for n in range(10)
]

pytestmark = pytest.mark.usefixtures("workplace")


def run(settings: Settings, rows: Rows, kind: str = "parquet", checks: Any = None, **changes: Any) -> Any:
    """Clean a raw train file of pairs in one of the formats; return the report."""
    RAW.mkdir(parents=True, exist_ok=True)
    path = RAW / f"train.{kind}"
    names = ("question", "answer", "label")
    match kind:
        case "parquet":
            pq.write_table(pa.table(dict(zip(names, zip(*rows, strict=True), strict=True))), path)
        case "jsonl":
            path.write_text("".join(json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in rows))
        case _:
            lines = [",".join(f'"{cell or ""}"' for cell in row) for row in (names, *rows)]
            path.write_text("\n".join(lines) + "\n")
    (RAW / "manifest.json").write_text(json.dumps({"files": {"train": {"path": path.name}}}))
    form = {"kind": kind, "encoding": "auto"} if kind == "jsonl" else {"kind": kind}
    own = {} if kind == "csv" else {"format": form}
    columns = {"text_column": "question", "text_pair_column": "answer"}
    return clean.clean(RAW, TARGET, settings(checks, **columns | own | changes), CLASSES)


def written() -> dict[str, dict[str, Any]]:
    tables = [pq.read_table(TARGET / f"{split}.parquet") for split in clean.SPLITS]
    return {row["id"]: row for table in tables for row in table.to_pylist()}


@pytest.mark.parametrize("kind", ["csv", "parquet", "jsonl"])
def test_each_format_gives_both_texts(settings: Settings, kind: str) -> None:
    run(settings, FILLERS, kind)
    rows = written()
    assert [
        (row["text"], row["text_pair"]) for row in map(rows.get, map("train:{}".format, range(1, 21)))
    ] == [row[:2] for row in FILLERS]
    assert pq.read_schema(TARGET / "train.parquet").names == ["id", "text", "text_pair", "label"]


def test_pairs_may_have_numbers(settings: Settings) -> None:
    RAW.mkdir(parents=True)
    rows = [(question, answer, number / 4) for number, (question, answer, _) in enumerate(FILLERS)]
    columns = dict(zip(("question", "answer", "rating"), zip(*rows, strict=True), strict=True))
    pq.write_table(pa.table(columns), RAW / "train.parquet")
    (RAW / "manifest.json").write_text(json.dumps({"files": {"train": {"path": "train.parquet"}}}))
    own = settings(
        text_column="question", text_pair_column="answer", label_column="rating", format={"kind": "parquet"}
    )
    clean.clean(RAW, TARGET, own, params.NumbersTask(kind="numbers", loss="mse", coverage=0.9))
    found = written()["train:5"]
    assert (found["text"], found["text_pair"], found["numbers"]) == (*FILLERS[4][:2], [1.0])


def test_a_pair_with_one_side_empty_is_named_and_dropped(settings: Settings) -> None:
    rows: Rows = [*FILLERS, ("a question", " \u200b", "a"), ("", "an answer", "b"), (None, None, "b")]
    report = run(settings, rows, checks={"empty": "drop"})
    assert report["checks"]["empty"]["reasons"] == {
        "train:21": "second text: invisible characters",
        "train:22": "first text: no text",
        "train:23": "first text: no text, second text: no text",
    }
    assert report["checks"]["empty"]["dropped_rows"] == ["train:21", "train:22", "train:23"]
    assert not {"train:21", "train:22", "train:23"} & written().keys()
    with pytest.raises(DataError, match=r"empty: 3 rows: train:21 \(second text"):
        run(settings, rows, checks={"empty": "fail"})


def test_the_checks_compare_pairs(settings: Settings) -> None:
    rows: Rows = [
        *FILLERS,
        ("what is number 1", "it is something else", "a"),  # the first text of another pair: no repetition
        ("WHAT is  number 2", "it is 2 and a", "b"),  # the pair of train:3 with another label
        ("what is number 3", "it is 3 and a", "a"),  # train:4 again
        ("what is number", "4 it is 4 and a", "a"),  # the words of train:5, in another pair
    ]
    checks = run(settings, rows)["checks"]
    assert list(checks["duplicate"]["reasons"]) == ["train:23"]
    assert sorted(checks["conflict"]["reasons"]) == ["train:22", "train:3"]
    assert checks["leakage"]["reasons"] == {}


def test_faults_of_the_second_text_are_found(settings: Settings) -> None:
    rows: Rows = [*FILLERS, ("a question", "schÃ¶n", "a"), ("b", [1], "b")]  # type: ignore[list-item]
    report = run(settings, rows, "jsonl", checks={"malformed": "drop"})
    assert report["checks"]["mojibake"]["reasons"] == {"train:21": "second text: 'Ã¶' at character 4"}
    assert report["checks"]["malformed"]["reasons"] == {
        "train:22": "second text is a list; text or a number is needed"
    }


def test_bytes_that_are_not_utf_8_are_named_and_replaced_in_both_texts(settings: Settings) -> None:
    RAW.mkdir(parents=True)
    rows = [*FILLERS, ("bad \udcfe", "it is \udcff", "a")]
    body = "".join(",".join(map(str, row)) + "\n" for row in [("question", "answer", "label"), *rows])
    (RAW / "train.csv").write_bytes(body.encode("utf-8", "surrogateescape"))
    (RAW / "manifest.json").write_text(json.dumps({"files": {"train": {"path": "train.csv"}}}))
    form = {
        "kind": "delimited",
        "escape": None,
        "encoding": "utf-8",
        "delimiter": ",",
        "quote": '"',
        "skip_lines": 0,
    }
    form |= {"columns": None}
    report = clean.clean(
        RAW, TARGET, settings(text_column="question", text_pair_column="answer", format=form), CLASSES
    )
    reasons = report["checks"]["invalid_utf8"]["reasons"]
    assert reasons == {"train:21": "byte 0xfe at character 5 of the first text"}
    row = written()["train:21"]
    assert (row["text"], row["text_pair"]) == ("bad \ufffd", "it is \ufffd")


def test_exchanged_pairs_and_texts_of_several_splits_are_noted(settings: Settings) -> None:
    rows: Rows = [*FILLERS, ("it is 1 and a", "What is number 1", "b"), ("same", "same", "a")]
    notes = run(settings, rows)["notes"]
    (note,) = [note for note in notes if "exchanged" in note]
    assert note.startswith("2 pairs are other pairs with their texts exchanged: train:")
    (note,) = [note for note in notes if "also in a row" in note]
    test = pq.read_table(TARGET / "test.parquet").to_pylist()
    others = [
        row for split in ("train", "val") for row in pq.read_table(TARGET / f"{split}.parquet").to_pylist()
    ]
    known = {text.lower() for row in others for text in (row["text"], row["text_pair"])}
    shared = [row for row in test if {row["text"].lower(), row["text_pair"].lower()} & known]
    assert note.startswith(f"{len(shared)} of {len(test)} test rows") and shared
    unrelated: Rows = [
        (f"text {n} of {label}", f"other {n} of {label}", label) for label in "ab" for n in range(10)
    ]
    assert run(settings, unrelated)["notes"] == []


def test_a_missing_column_of_second_texts_names_its_key(settings: Settings) -> None:
    with pytest.raises(DataError, match="no column 'reply'") as caught:
        run(settings, FILLERS, text_pair_column="reply")
    assert "set text_pair_column of preprocess" in str(caught.value)


def test_a_table_without_pairs_has_no_such_column(settings: Settings) -> None:
    run(settings, FILLERS, text_pair_column=None)
    assert pq.read_schema(TARGET / "train.parquet").names == ["id", "text", "label"]


def test_images_are_no_pairs(image_settings: Callable[..., params.ImagePreprocess]) -> None:
    with pytest.raises(ValidationError, match="text_pair_column"):
        image_settings(text_pair_column="other")
