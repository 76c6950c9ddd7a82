"""Folders of files, documents and lines as raw tables."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from baton import params
from baton.errors import DataError
from baton.tables import readers
from baton.tables.columns import Columns
from baton.tables.extra_columns import ExtraColumns
from baton.tables.rows import RawTable

DOCUMENTS = {"kind": "documents", "encoding": "auto"}
TSV = {
    "kind": "delimited",
    "encoding": "auto",
    "escape": None,
    "delimiter": "\t",
    "quote": None,
    "skip_lines": 0,
    "columns": ["label", "text"],
}
LINES = {
    "kind": "lines",
    "encoding": "utf-8",
    "skip_lines": 1,
    "pattern": r"\d+ (?P<label>\d\d) .*?\| (?P<text>.*\S)",
}


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def read(path: Path, form: dict[str, Any], label: str = "label", kept: tuple[str, ...] = ()) -> RawTable:
    settings: Any = TypeAdapter(params.Format).validate_python(form, strict=False)
    return readers.read(path, "train", settings, Columns("text", label, extra=ExtraColumns(kept=kept)))


def pairs(table: RawTable) -> list[tuple[str, str]]:
    return [(row.text, row.label) for row in table.rows]


def test_each_file_is_a_document_and_its_folder_the_label(tmp_path: Path) -> None:
    files = {
        "spam/b.txt": b"buy\r\nnow",
        "spam/2003/a": "caf\u00e9".encode(),
        "ham/c.eml": b"hello",
        "loose": b"x",
    }
    table = read(write(tmp_path, files), DOCUMENTS, "folder", ("file",))
    assert pairs(table) == [("hello", "ham"), ("x", ""), ("caf\u00e9", "spam"), ("buy\r\nnow", "spam")]
    assert [row.extras.kept for row in table.rows] == [("c",), ("loose",), ("a",), ("b",)]
    assert table.path == tmp_path


def test_documents_of_other_encodings(tmp_path: Path) -> None:
    files = {
        "a/1": "\ufeffcaf\u00e9".encode(),
        "a/2": "caf\u00e9".encode("utf-16"),
        "a/3": b"",
        "a/4": b"caf\xe9",
    }
    table = read(write(tmp_path, files), DOCUMENTS, "folder")
    assert [row.text for row in table.rows] == ["caf\u00e9", "caf\u00e9", "", "caf\udce9"]
    table = read(
        write(tmp_path / "b", {"a/4": b"caf\xe9"}), DOCUMENTS | {"encoding": "windows-1252"}, "folder"
    )
    assert [row.text for row in table.rows] == ["caf\u00e9"]


def test_a_single_document_and_an_unknown_column_are_refused(tmp_path: Path) -> None:
    write(tmp_path, {"a/1.txt": b"x"})
    with pytest.raises(DataError, match=r"(?s)1.txt is one file.*next:"):
        read(tmp_path / "a/1.txt", DOCUMENTS)
    with pytest.raises(DataError, match=r"(?s)no column 'label'.*got: +'text', 'file', 'folder'.*next:"):
        read(tmp_path, DOCUMENTS)


def test_several_tables_are_one_with_the_file_as_a_column(tmp_path: Path) -> None:
    files = {"set/tweets_Truth.tsv": b"1\tgood\n2\n", "set/news.tsv": b"3\tbad\n"}
    table = read(write(tmp_path, files), TSV, kept=("file", "folder"))
    assert pairs(table) == [("bad", "3"), ("good", "1")]
    assert [row.extras.kept for row in table.rows] == [("news", "set"), ("tweets_Truth", "set")]
    assert [row.id for row in table.rows] == ["train:1", "train:2"]
    assert table.malformed == {"train:3": "set/tweets_Truth.tsv: line 2: 1 fields instead of 2"}


def test_json_files_of_one_object_each(tmp_path: Path) -> None:
    files = {
        "spam-1/1.json": b'{"text": "buy", "label": "a"}',
        "ham/2.json": b'{"text": "hello", "label": "b"}',
    }
    form = {"kind": "jsonl", "encoding": "utf-8"}
    assert pairs(read(write(tmp_path, files), form)) == [("hello", "b"), ("buy", "a")]
    assert pairs(read(tmp_path, form, "folder")) == [("hello", "ham"), ("buy", "spam-1")]


def test_many_remarks_are_cut_short(tmp_path: Path) -> None:
    files = {f"{n}.tsv": "1\tcaf\u00e9\n".encode("utf-16") for n in range(9)}
    remarks = read(write(tmp_path, files), TSV).remarks
    assert len(remarks) == 6
    assert remarks[-1] == f"{tmp_path}: 4 more remarks like these"


def test_an_empty_table_among_others_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"b\.tsv is empty"):
        read(write(tmp_path, {"a.tsv": b"1\tx\n", "b.tsv": b""}), TSV)


def test_lines_are_rows_by_a_pattern(tmp_path: Path) -> None:
    content = b'  licence\n001 03 n 01 entity | what is; "so"  \r\n\nodd\n002 44 v | to go\n'
    table = read(write(tmp_path, {"data.noun": content}) / "data.noun", LINES)
    assert pairs(table) == [('what is; "so"', "03"), ("to go", "44")]
    assert table.malformed == {"train:2": "line 4: the pattern does not match"}
    assert table.blank_lines == 1


def test_a_pattern_that_never_matches_or_lacks_a_group_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, {"a": b"x\ny\n"}) / "a"
    with pytest.raises(DataError, match=r"(?s)no line matches the pattern.*got:.*expected:.*next:"):
        read(path, LINES)
    with pytest.raises(DataError, match=r"(?s)no column 'topic'.*got: +'label', 'text'.*\(\?P<topic>"):
        read(path, LINES, "topic")


@pytest.mark.parametrize(("pattern", "message"), [("(", "not a regular expression"), ("(a)", "named groups")])
def test_a_wrong_pattern_is_refused_in_params(pattern: str, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TypeAdapter(params.Format).validate_python(LINES | {"pattern": pattern}, strict=False)
