"""Raw files to rows: every format, and rows that cannot be read."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from baton import params
from baton.data import tables
from baton.data.columns import Columns
from baton.errors import DataError

Settings = Callable[..., params.TextPreprocess]
TSV = {"kind": "delimited", "delimiter": "\t", "quote": None, "skip_lines": 3, "columns": ["label", "text"]}


def read(tmp_path: Path, content: bytes, settings: params.TextPreprocess) -> tables.RawTable:
    path = tmp_path / "train.raw"
    path.write_bytes(content)
    return tables.read(path, "train", settings.format, Columns(settings.text_column, settings.label_column))


def rows(table: tables.RawTable) -> list[tuple[str, str, str]]:
    return [(row.id, row.text, row.label) for row in table.rows]


def refused(tmp_path: Path, content: bytes, settings: params.TextPreprocess) -> str:
    with pytest.raises(DataError) as caught:
        read(tmp_path, content, settings)
    message = str(caught.value)
    assert all(part in message for part in ("train.raw", "got:", "expected:", "next:"))
    return message


def test_csv_with_quotes_newlines_and_a_byte_order_mark(tmp_path: Path, settings: Settings) -> None:
    content = '\ufefftext,id,label\r\n"one, ""two""\nthree",1,pos\r\n\r\n5" wide,2,neg\r\n'.encode()
    table = read(tmp_path, content, settings())
    assert rows(table) == [("train:1", 'one, "two"\nthree', "pos"), ("train:2", '5" wide', "neg")]
    assert (table.malformed, table.blank_lines) == ({}, 1)


def test_orange_tab_files(tmp_path: Path, settings: Settings) -> None:
    content = b'Category\tText\nd\tstring\nclass\t\nearn\t"profit rose\nacq\tit bought\n'
    assert rows(read(tmp_path, content, settings(format=TSV))) == [("train:1", '"profit rose', "earn"), ("train:2", "it bought", "acq")]


def test_rows_with_another_number_of_fields_are_named(tmp_path: Path, settings: Settings) -> None:
    table = read(tmp_path, b"text,label\nfine,a\nno label here\nmuch,too,many\nalso fine,b\n", settings())
    assert rows(table) == [("train:1", "fine", "a"), ("train:4", "also fine", "b")]
    assert table.malformed == {"train:2": "line 3: 1 fields instead of 2", "train:3": "line 4: 3 fields instead of 2"}


def test_an_unclosed_quote_costs_its_own_line_only(tmp_path: Path, settings: Settings) -> None:
    table = read(tmp_path, b'text,label\nfine,a\n"never closed,a\nfine again,b\n"quoted",b\n', settings())
    assert rows(table) == [("train:1", "fine", "a"), ("train:3", "fine again", "b"), ("train:4", "quoted", "b")]
    assert list(table.malformed) == ["train:2"]
    assert table.malformed["train:2"].startswith("line 3:")


def test_an_unclosed_quote_up_to_the_end_of_the_file_costs_its_own_line_only(tmp_path: Path, settings: Settings) -> None:
    table = read(tmp_path, b'text,label\nfine,a\n"never closed,a\nfine again,b\nlast,b', settings())
    assert rows(table) == [("train:1", "fine", "a"), ("train:3", "fine again", "b"), ("train:4", "last", "b")]
    assert table.malformed == {"train:2": "line 3: a quote is opened and never closed"}


def test_bytes_that_are_no_utf8_survive_for_the_check(tmp_path: Path, settings: Settings) -> None:
    table = read(tmp_path, b"text,label\ncaf\xe9,a\nna\xc3\xafve,b\n", settings())
    assert rows(table) == [("train:1", "caf\udce9", "a"), ("train:2", "na\u00efve", "b")]


def test_a_very_long_field_is_read(tmp_path: Path, settings: Settings) -> None:
    table = read(tmp_path, b"text,label\n" + b"x" * 300_000 + b",a\n", settings())
    assert len(table.rows[0].text) == 300_000


@pytest.mark.parametrize("content", [b"", b"text,label\n", b"\n\n"])
def test_an_empty_file_is_refused(tmp_path: Path, settings: Settings, content: bytes) -> None:
    message = refused(tmp_path, content, settings())
    assert any(part in message for part in ("is empty", "has no rows", "has no column"))


def test_a_missing_column_is_named_with_those_that_are_there(tmp_path: Path, settings: Settings) -> None:
    assert "no column 'text'" in (message := refused(tmp_path, b"Text;label\na;b\n", settings()))
    assert "'Text;label'" in message
    assert "2 columns named 'text'" in refused(tmp_path, b"text,text,label\na,b,c\n", settings())


def test_utf16_is_refused(tmp_path: Path, settings: Settings) -> None:
    assert "UTF-16" in refused(tmp_path, "text,label\na,b\n".encode("utf-16"), settings())


JSONL = {"kind": "jsonl"}


def test_json_lines(tmp_path: Path, settings: Settings) -> None:
    content = (
        b'{"text": "a\\u2028b\\nc", "label": 1, "more": []}\n\n{"text": 5, "label": true}\n{"label": null, "text": "x"}\n{"text": "y"}\n'
    )
    table = read(tmp_path, content, settings(format=JSONL))
    assert rows(table) == [("train:1", "a\u2028b\nc", "1"), ("train:2", "5", "true"), ("train:3", "x", ""), ("train:4", "y", "")]
    assert table.blank_lines == 1


def test_json_that_cannot_be_read_is_named(tmp_path: Path, settings: Settings) -> None:
    lines = [
        b'{"text": "a", "label": "x"}',
        b'{"text": "b", "label": ',
        b"[1]",
        b'{"text": ["c"], "label": "x"}',
        b'{"text": "caf\xe9", "label": "x"}',
    ]
    table = read(tmp_path, b"\n".join(lines), settings(format=JSONL))
    assert rows(table) == [("train:1", "a", "x"), ("train:5", "caf\udce9", "x")]
    assert {id_: reason.partition(":")[0] for id_, reason in table.malformed.items()} == {
        "train:2": "line 2",
        "train:3": "line 3",
        "train:4": "text is a list; text or a number is needed",
    }


def test_a_key_that_no_object_has_is_a_missing_column(tmp_path: Path, settings: Settings) -> None:
    message = refused(tmp_path, b'{"sentence": "a", "label": "x"}\n', settings(format=JSONL))
    assert "no column 'text'" in message
    assert "'sentence', 'label'" in message


def parquet(tmp_path: Path, columns: dict[str, Any]) -> bytes:
    pq.write_table(pa.table(columns), tmp_path / "made.parquet")
    return (tmp_path / "made.parquet").read_bytes()


PARQUET = {"kind": "parquet"}


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (pa.array([0, 1, None], pa.int64()), ["0", "1", ""]),
        (pa.array([0.0, 1.5, float("nan")]), ["0", "1.5", ""]),
        (pa.array(["a", "b", None]).dictionary_encode(), ["a", "b", ""]),
        (pa.array([True, False, None]), ["true", "false", ""]),
    ],
)
def test_parquet(tmp_path: Path, settings: Settings, labels: pa.Array, expected: list[str]) -> None:
    content = parquet(tmp_path, {"text": ["x", None, "z"], "label": labels, "other": [1, 2, 3]})
    table = read(tmp_path, content, settings(format=PARQUET))
    assert rows(table) == [("train:1", "x", expected[0]), ("train:2", "", expected[1]), ("train:3", "z", expected[2])]


def test_parquet_text_that_is_no_utf8_survives_for_the_check(tmp_path: Path, settings: Settings) -> None:
    # Arrow trusts a string column; a writer in another language may not have checked.
    broken = pa.StringArray.from_buffers(1, pa.py_buffer(b"\0\0\0\0\4\0\0\0"), pa.py_buffer(b"caf\xe9"))
    for text in (broken, pa.array([b"caf\xe9"])):
        table = read(tmp_path, parquet(tmp_path, {"text": text, "label": ["a"]}), settings(format=PARQUET))
        assert rows(table) == [("train:1", "caf\udce9", "a")]


def test_a_file_that_is_no_parquet_is_refused(tmp_path: Path, settings: Settings) -> None:
    assert "no readable Parquet" in refused(tmp_path, b"text,label\na,b\n", settings(format=PARQUET))
    whole = parquet(tmp_path, {"text": ["x"] * 100, "label": ["a"] * 100})
    assert "no readable Parquet" in refused(tmp_path, whole[:-20], settings(format=PARQUET))
    assert "no column 'label'" in refused(tmp_path, parquet(tmp_path, {"text": ["x"], "Label": ["a"]}), settings(format=PARQUET))
