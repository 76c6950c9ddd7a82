"""Tests from raw files to rows: every format, and rows that cannot be read."""

import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from baton import params
from baton.errors import DataError
from baton.tables import readers
from baton.tables.columns import Columns

Settings = Callable[..., params.TextPreprocess]
TSV = {
    "kind": "delimited",
    "encoding": "auto",
    "escape": None,
    "delimiter": "\t",
    "quote": None,
    "skip_lines": 3,
    "columns": ["label", "text"],
}


def read(tmp_path: Path, content: bytes, settings: params.TextPreprocess) -> readers.RawTable:
    path = tmp_path / "train.raw"
    path.write_bytes(content)
    return readers.read(path, "train", settings.format, Columns(settings.text_column, settings.label_column))


def rows(table: readers.RawTable) -> list[tuple[str, str, str]]:
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
    assert rows(read(tmp_path, content, settings(format=TSV))) == [
        ("train:1", '"profit rose', "earn"),
        ("train:2", "it bought", "acq"),
    ]


def test_rows_with_another_number_of_fields_are_named(tmp_path: Path, settings: Settings) -> None:
    table = read(tmp_path, b"text,label\nfine,a\nno label here\nmuch,too,many\nalso fine,b\n", settings())
    assert rows(table) == [("train:1", "fine", "a"), ("train:4", "also fine", "b")]
    assert table.malformed == {
        "train:2": "line 3: 1 fields instead of 2",
        "train:3": "line 4: 3 fields instead of 2",
    }


def test_an_unclosed_quote_costs_its_own_line_only(tmp_path: Path, settings: Settings) -> None:
    table = read(tmp_path, b'text,label\nfine,a\n"never closed,a\nfine again,b\n"quoted",b\n', settings())
    assert rows(table) == [
        ("train:1", "fine", "a"),
        ("train:3", "fine again", "b"),
        ("train:4", "quoted", "b"),
    ]
    assert list(table.malformed) == ["train:2"]
    assert table.malformed["train:2"].startswith("line 3:")


def test_an_unclosed_quote_up_to_the_end_of_the_file_costs_its_own_line_only(
    tmp_path: Path, settings: Settings
) -> None:
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


def test_a_long_header_is_not_shown_whole(tmp_path: Path, settings: Settings) -> None:
    message = refused(
        tmp_path, ",".join(f"column {n} {'x' * 500}" for n in range(5000)).encode() + b"\n1\n", settings()
    )
    assert "and 4980 more" in message
    assert len(message) < 3000


def form(**changes: Any) -> dict[str, Any]:
    return {
        "kind": "delimited",
        "encoding": "auto",
        "escape": None,
        "delimiter": ",",
        "quote": '"',
        "skip_lines": 0,
        "columns": None,
    } | changes


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_another_delimiter_is_named_or_found(tmp_path: Path, settings: Settings, delimiter: str) -> None:
    content = f'id{delimiter}text{delimiter}label\n1{delimiter}"a, b; c"{delimiter}x\n'.encode()
    assert f"the delimiter is {delimiter!r}: set preprocess.format.delimiter to it, or to auto" in refused(
        tmp_path, content, settings()
    )
    table = read(tmp_path, content, settings(format=form(delimiter="auto")))
    assert rows(table) == [("train:1", "a, b; c", "x")]
    assert f"is read with the delimiter {delimiter!r}" in table.remarks[0]


def test_without_a_header_the_delimiter_is_that_of_most_lines(tmp_path: Path, settings: Settings) -> None:
    wanted = settings(format=form(delimiter="auto", columns=["text", "label"]))
    assert [row.text for row in read(tmp_path, b"a, b;x\nc;y\nd, e;z\n", wanted).rows] == [
        "a, b",
        "c",
        "d, e",
    ]


def test_the_sep_line_of_a_spreadsheet(tmp_path: Path, settings: Settings) -> None:
    content = b"sep=;\r\ntext;label\r\na;x\r\n"
    message = refused(tmp_path, content, settings())
    assert "begins with a spreadsheet's `sep=` line" in message
    assert "skip_lines: 1" in message
    assert rows(read(tmp_path, content, settings(format=form(delimiter="auto")))) == [("train:1", "a", "x")]
    assert rows(read(tmp_path, content, settings(format=form(delimiter=";", skip_lines=1)))) == [
        ("train:1", "a", "x")
    ]


ESCAPED = rb"""text,label
"one",a
"5\" of pipe",b
"size 5\"",a
",5 mm ring",b
"last",a
"""


def test_quotes_after_a_backslash(tmp_path: Path, settings: Settings) -> None:
    expected = ["one", '5" of pipe', 'size 5"', ",5 mm ring", "last"]
    assert [row.text for row in read(tmp_path, ESCAPED, settings(format=form(escape="\\"))).rows] == expected
    table = read(tmp_path, ESCAPED, settings())
    assert rows(table) == [("train:1", "one", "a"), ("train:4", ",5 mm ring", "b"), ("train:5", "last", "a")]
    assert table.count == 5, "no row vanishes inside another"
    assert all(
        reason.endswith('it holds \\": set escape: "\\\\" of the format')
        for reason in table.malformed.values()
    )


def test_a_record_of_several_lines_with_a_wrong_number_of_fields_is_one_row(
    tmp_path: Path, settings: Settings
) -> None:
    table = read(tmp_path, b'text,label\n"two\nlines",too,many\nfine,a\n', settings())
    assert rows(table) == [("train:2", "fine", "a")]
    assert table.malformed == {"train:1": "line 2: 3 fields instead of 2"}


def test_a_quote_that_swallows_rows_gives_them_back(tmp_path: Path, settings: Settings) -> None:
    swallowed = "".join(f"row {n},a\n" for n in range(50))
    table = read(
        tmp_path,
        f'text,label\n"opened ""never closed,a\n{swallowed}"quoted, and more",b\n'.encode(),
        settings(),
    )
    assert [row.text for row in table.rows] == [*(f"row {n}" for n in range(50)), "quoted, and more"]
    assert list(table.malformed) == ["train:1"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends(tmp_path: Path, settings: Settings, end: str) -> None:
    content = end.join(["text,label", '"one\ntwo",a', "", "three,b", ""]).encode()
    table = read(tmp_path, content, settings())
    assert rows(table) == [("train:1", "one\ntwo", "a"), ("train:2", "three", "b")]
    assert table.blank_lines == 1


def test_a_zero_byte_is_text(tmp_path: Path, settings: Settings) -> None:
    assert rows(read(tmp_path, b"text,label\na\0b,x\n", settings())) == [("train:1", "a\0b", "x")]


JSONL = {"kind": "jsonl", "encoding": "auto"}


def test_json_lines(tmp_path: Path, settings: Settings) -> None:
    content = b'{"text": "a\\u2028b\\nc", "label": 1, "more": []}\n\n{"text": 5, "label": true}\n'
    content += b'{"label": null, "text": "x"}\n{"text": "y"}\n'
    table = read(tmp_path, content, settings(format=JSONL))
    assert rows(table) == [
        ("train:1", "a\u2028b\nc", "1"),
        ("train:2", "5", "true"),
        ("train:3", "x", ""),
        ("train:4", "y", ""),
    ]
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


def test_records_without_a_text_key_are_no_empty_texts(tmp_path: Path, settings: Settings) -> None:
    lines = [
        b'{"text": "a", "label": "x"}',
        b'{"body": "b", "label": "x"}',
        b'{"text": "c"}',
        b'{"text": "d", "label": null}',
    ]
    table = read(tmp_path, b"\n".join(lines), settings(format=JSONL))
    assert table.malformed == {"train:2": "line 2: no key 'text'"}
    assert [row.label for row in table.rows] == ["x", "", ""]
    assert table.unlabelled == {"train:4"}


def test_labels_that_are_lists_are_named(tmp_path: Path, settings: Settings) -> None:
    table = read(tmp_path, b'{"text": "a", "label": ["x"]}\n', settings(format=JSONL))
    assert table.malformed == {"train:1": "label is a list; one label a row is needed"}


OBJECTS = [{"text": f"t {n}", "label": "ab"[n % 2]} for n in range(6)]


@pytest.mark.parametrize(
    ("content", "what", "command"),
    [
        (json.dumps(OBJECTS), "one JSON document, a list", "jq -c '.[]'"),
        (json.dumps(OBJECTS, indent=2), "one JSON document, a list", "jq -c '.[]'"),
        ("[\n" + ",\n".join(map(json.dumps, OBJECTS)) + "\n]\n", "one JSON document, a list", "jq -c '.[]'"),
        (
            json.dumps({"data": OBJECTS}),
            "one JSON document with its rows in a list under 'data'",
            "jq -c '.[\"data\"][]'",
        ),
        (
            json.dumps({"data": OBJECTS}, indent=2),
            "it may be one JSON document spread over several lines",
            "jq",
        ),
        (
            "".join(f"{json.dumps(one)} {json.dumps(one)}\n" for one in OBJECTS),
            "several objects per line",
            "jq -c .",
        ),
        ("".join(map(json.dumps, OBJECTS)), "several objects per line", "jq -c ."),
    ],
)
def test_json_that_is_no_json_lines(
    tmp_path: Path, settings: Settings, content: str, what: str, command: str
) -> None:
    message = refused(tmp_path, content.encode(), settings(format=JSONL))
    assert what in message
    assert command in message


def test_a_few_lines_with_several_objects_are_named(tmp_path: Path, settings: Settings) -> None:
    lines = [*map(json.dumps, OBJECTS), json.dumps(OBJECTS[0]) * 2]
    table = read(tmp_path, "\n".join(lines).encode(), settings(format=JSONL))
    assert table.malformed == {"train:7": "line 7: several JSON values in one line"}


def test_json_with_a_mark_nan_and_infinity(tmp_path: Path, settings: Settings) -> None:
    content = b'\xef\xbb\xbf{"text": "a", "label": NaN}\n{"text": "b", "label": 1.0}\n'
    assert [row.label for row in read(tmp_path, content, settings(format=JSONL)).rows] == ["", "1"]


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
        (pa.array([Decimal(1), Decimal(20), None], pa.decimal128(10, 2)), ["1", "20", ""]),
        (pa.array([Decimal("1.50"), Decimal(-2), None], pa.decimal256(40, 2)), ["1.50", "-2", ""]),
        (pa.array([date(2024, 1, 2), date(1999, 12, 31), None]), ["2024-01-02", "1999-12-31", ""]),
        (
            pa.array([datetime(2024, 1, 2, 3, 4, tzinfo=UTC), None, None]),
            ["2024-01-02 03:04:00+00:00", "", ""],
        ),
        (pa.array([0.0, 1.5, None], pa.float16()), ["0", "1.5", ""]),
    ],
)
def test_parquet(tmp_path: Path, settings: Settings, labels: pa.Array, expected: list[str]) -> None:
    content = parquet(tmp_path, {"text": ["x", None, "z"], "label": labels, "other": [1, 2, 3]})
    table = read(tmp_path, content, settings(format=PARQUET))
    assert rows(table) == [
        ("train:1", "x", expected[0]),
        ("train:2", "", expected[1]),
        ("train:3", "z", expected[2]),
    ]


@pytest.mark.parametrize(
    ("labels", "kind"),
    [
        (pa.array([["a"], ["b"]]), "list<"),
        (pa.array([{"x": 1}, {"x": 2}]), "struct<x: int64>"),
        (pa.array([[("k", 1)], []], pa.map_(pa.string(), pa.int8())), "map<"),
    ],
)
def test_parquet_columns_of_lists_name_their_type(
    tmp_path: Path, settings: Settings, labels: pa.Array, kind: str
) -> None:
    message = refused(
        tmp_path, parquet(tmp_path, {"text": ["x", "y"], "label": labels}), settings(format=PARQUET)
    )
    assert "column 'label' does not contain single values" in message
    assert kind in message


def test_parquet_text_that_is_no_utf8_survives_for_the_check(tmp_path: Path, settings: Settings) -> None:
    # Arrow trusts string columns, but a writer in another language may not have validated them.
    broken = pa.StringArray.from_buffers(1, pa.py_buffer(b"\0\0\0\0\4\0\0\0"), pa.py_buffer(b"caf\xe9"))
    for text in (broken, pa.array([b"caf\xe9"])):
        table = read(tmp_path, parquet(tmp_path, {"text": text, "label": ["a"]}), settings(format=PARQUET))
        assert rows(table) == [("train:1", "caf\udce9", "a")]


def test_a_file_that_is_no_parquet_is_refused(tmp_path: Path, settings: Settings) -> None:
    assert "not a readable Parquet file" in refused(tmp_path, b"text,label\na,b\n", settings(format=PARQUET))
    whole = parquet(tmp_path, {"text": ["x"] * 100, "label": ["a"] * 100})
    assert "not a readable Parquet file" in refused(tmp_path, whole[:-20], settings(format=PARQUET))
    assert "no column 'label'" in refused(
        tmp_path, parquet(tmp_path, {"text": ["x"], "Label": ["a"]}), settings(format=PARQUET)
    )
