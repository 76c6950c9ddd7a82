"""Tagged texts in every form, and what is wrong with them, named by row."""

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from baton import params
from baton.errors import DataError
from baton.tables import readers
from baton.tables.columns import Columns
from baton.tables.rows import RawTable
from baton.tables.token_cells import TokenCells

SPACE, PATTERN = TokenCells("space"), TokenCells("pattern")
TEXT = "Ann Lee, of New York/Rome"
CONLL = params.ConllFormat(kind="conll", encoding="utf-8", separator=None, columns=("word", "tag"))
JSONL = params.JsonLinesFormat(kind="jsonl", encoding="utf-8")
PLACES = {"PER": 0, "LOC": 1}


def read(
    path: Path, form: Any, cells: TokenCells = SPACE, names: tuple[str, str] = ("text", "spans")
) -> RawTable:
    return readers.read(path, "train", form, Columns(*names), cells.read, cells.joined)


def jsonl(folder: Path, *rows: dict[str, Any]) -> Path:
    path = folder / "data.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def conll(folder: Path, text: str) -> Path:
    path = folder / "data.conll"
    path.write_text(text, encoding="utf-8")
    return path


def entities(table: RawTable) -> list[list[Any]]:
    return [json.loads(row.label)[1] for row in table.rows]


def span(start: int, end: int, label: str = "LOC") -> dict[str, Any]:
    return {"start": start, "end": end, "label": label}


def test_spans_of_characters_become_tags_of_words(tmp_path: Path) -> None:
    spans = [span(12, 20), span(0, 7, "PER"), span(21, 25)]
    table = read(jsonl(tmp_path, {"text": TEXT, "spans": spans}, {"text": "no", "spans": []}), JSONL, PATTERN)
    assert [row.text for row in table.rows] == [TEXT, "no"]
    assert entities(table) == [[[0, 2, "PER"], [4, 6, "LOC"], [7, 8, "LOC"]], []]
    assert PATTERN.target(table.rows[0].label, PLACES) == [1, 2, 0, 0, 3, 4, 0, 3]
    assert PATTERN.names(table.rows[0].label) == ("LOC", "PER") and PATTERN.target(
        table.rows[1].label, {}
    ) == [0]
    assert PATTERN.notes(table, {}) == []


def test_a_span_that_cuts_a_word_is_widened_and_noted(tmp_path: Path) -> None:
    """`Lee,` is one word between white space; white space at the ends of a span is no cut."""
    rows = [{"text": TEXT, "spans": [span(0, 7, "PER")]}, {"text": TEXT, "spans": [span(3, 12)]}]
    table = read(jsonl(tmp_path, *rows), JSONL)
    assert entities(table) == [[[0, 2, "PER"]], [[1, 3, "LOC"]]]
    (note,) = SPACE.notes(table, {})
    assert "1 row (train:1) has a span that cuts a word; it is widened to whole words" in note


@pytest.mark.parametrize(
    ("text", "spans", "fault"),
    [
        (TEXT, [span(0, 7), span(4, 9)], "spans overlap: 0 to 7, and 4 to 9"),
        (TEXT, [span(12, 26)], "span 1, 12 to 26, lies outside of the text of 25 characters"),
        (TEXT, [span(-2, 3)], "span 1, -2 to 3, lies outside of the text"),
        (TEXT, [span(0, 3), span(5, 5)], "span 2 is empty: it starts at 5 and ends at 5"),
        (TEXT, [span(9, 4)], "span 1 is empty: it starts at 9 and ends at 4"),
        (TEXT, [span(3, 4)], "the span 3 to 4, ' ', has no word"),
        (TEXT, [span(12, 20), span(21, 25)], "two spans share the word 'York/Rome', at 16"),
        (TEXT, [{"start": 1, "end": 3}], "span 1 is not an object with start, end, label"),
        (TEXT, [[1, 3, "LOC"]], "span 1 is not an object with start, end, label"),
        (TEXT, [span(0, 3) | {"end": "3"}], "span 1 needs whole numbers and a name"),
        (TEXT, [span(0, 3) | {"end": 2.5}], "span 1 needs whole numbers and a name"),
        (TEXT, [span(0, 3) | {"start": float("nan")}], "span 1 needs whole numbers and a name"),
        (TEXT, [span(0, 3) | {"end": float("inf")}], "span 1 needs whole numbers and a name"),
        (TEXT, [span(0, 3, " ")], "' ' is not the name of an entity type"),
        (TEXT, "LOC", "label 'LOC' is not a JSON list of spans or tags"),
        (TEXT, {"LOC": [0, 3]}, "label is a dict; a list of spans or tags is needed"),
        ([], ["O"], "0 tokens, but 1 tags"),
        (["New", "York"], ["B-LOC"], "2 tokens, but 1 tags"),
        (["New York", "!"], ["B-LOC", "O"], "token 1, 'New York', has white space in it"),
        (["New", ""], ["B-LOC", "O"], "token 2 is empty"),
        (["New", {"a": 1}], ["B-LOC", "O"], "token 2 is a dict"),
        (["New", "York"], ["B-LOC", "LOC"], "tag 2, 'LOC', is not O, B-TYPE or I-TYPE"),
        (["New", "York"], [3, 4], "tag 1, '3', is not O, B-TYPE or I-TYPE"),
        ("New York", ["B-LOC"], "2 tokens, but 1 tags"),
        ({"a": 1}, [], "text is a dict"),
    ],
)
def test_rows_that_cannot_be_read_are_named(tmp_path: Path, text: Any, spans: Any, fault: str) -> None:
    good = {"text": "Rome", "spans": [span(0, 4)]}
    table = read(jsonl(tmp_path, good, {"text": text, "spans": spans}, good), JSONL)
    assert list(table.malformed) == ["train:2"] and fault in table.malformed["train:2"]
    assert [row.id for row in table.rows] == ["train:1", "train:3"]


SENTENCE = ["Ann", "Lee", "Rome", "Bonn", "."]
WANTED = [[0, 2, "PER"], [2, 3, "LOC"], [3, 4, "LOC"]]


@pytest.mark.parametrize(
    "tags",
    [
        "B-PER I-PER B-LOC B-LOC O",  # IOB2
        "I-PER I-PER I-LOC B-LOC O",  # IOB1
        "B-PER E-PER S-LOC S-LOC O",  # BIOES
        "B-PER L-PER U-LOC U-LOC O",  # BILOU
        "B_PER I_PER B_LOC B_LOC O",
    ],
)
def test_all_schemes_mean_the_same(tmp_path: Path, tags: str) -> None:
    rows = [{"text": SENTENCE, "spans": tags.split()}, {"text": " ".join(SENTENCE), "spans": tags.split()}]
    for cells in (SPACE, PATTERN):
        table = read(jsonl(tmp_path, *rows), JSONL, cells)
        assert entities(table) == [WANTED, WANTED] and table.rows[0].text == "Ann Lee Rome Bonn ."


def test_tokens_in_the_text_of_a_json_list(tmp_path: Path) -> None:
    """As a table of CSV has them; a text with spans is a text, whatever it looks like."""
    path = tmp_path / "data.csv"
    tags = ["B-PER", "I-PER", "B-LOC", "B-LOC", "O"]
    cells = [(json.dumps(SENTENCE), json.dumps(tags)), (json.dumps(SENTENCE), json.dumps(tags[1:]))]
    cells += [('["Rome"]', json.dumps([span(2, 6)])), ("[no list]", '["O", "O"]'), ('["Rome"]', "")]
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "spans"), *cells])
    form = params.DelimitedFormat(
        kind="delimited", encoding="auto", escape=None, delimiter=",", quote='"', skip_lines=0, columns=None
    )
    table = read(path, form)
    assert [row.text for row in table.rows] == [" ".join(SENTENCE), '["Rome"]', "[no list]"]
    assert entities(table) == [WANTED, [[0, 1, "LOC"]], []]
    assert table.malformed["train:2"] == "5 tokens, but 4 tags"


def test_the_columns_of_conll(tmp_path: Path) -> None:
    text = "-DOCSTART- O\n\nAnn B-PER\nLee I-PER\n\n\nin O\nRome\tB-LOC\n-DOCSTART- O\n\nBonn B-LOC\n"
    table = read(conll(tmp_path, text), CONLL, names=("word", "tag"))
    assert [row.text for row in table.rows] == ["Ann Lee", "in Rome", "Bonn"]
    assert entities(table) == [[[0, 2, "PER"]], [[1, 2, "LOC"]], [[0, 1, "LOC"]]]
    assert SPACE.notes(table, {}) == []
    with pytest.raises(DataError, match="has no column 'pos'"):
        read(conll(tmp_path, text), CONLL, names=("word", "pos"))


def test_a_sentence_with_a_broken_line_is_named(tmp_path: Path) -> None:
    table = read(conll(tmp_path, "Ann B-PER\n\nin O\nRome\n\nBonn B-LOC\n"), CONLL, names=("word", "tag"))
    assert table.malformed == {"train:2": "line 4: 1 columns instead of 2"}
    assert [row.id for row in table.rows] == ["train:1", "train:3"]


def test_impossible_sequences_are_repaired_as_conlleval_reads_them_and_noted(tmp_path: Path) -> None:
    text = "in O\nRome I-LOC\n\nAnn B-PER\nBonn I-LOC\n"
    table = read(conll(tmp_path, text), CONLL, names=("word", "tag"))
    assert entities(table) == [[[1, 2, "LOC"]], [[0, 1, "PER"], [1, 2, "LOC"]]]
    (note,) = SPACE.notes(table, {})
    assert "2 rows (train:1, train:2) have I-TYPE where no tag of that type precedes it" in note
    table = read(conll(tmp_path, "in O\nRome I-LOC\n"), CONLL, names=("word", "tag"))
    assert "is read as IOB1" in SPACE.notes(table, {})[0]


def test_list_columns_of_parquet(tmp_path: Path) -> None:
    kind = pa.list_(pa.struct({"start": pa.int32(), "end": pa.int32(), "label": pa.string()}))
    columns = {
        "tokens": pa.array([SENTENCE, None]),
        "tags": pa.array([["B-PER", "I-PER", "B-LOC", "B-LOC", "O"], ["O"]]),
        "text": pa.array([TEXT, TEXT]),
        "spans": pa.array([[span(0, 3, "PER")], None], kind),
    }
    pq.write_table(pa.table(columns), tmp_path / "data.parquet")
    form = params.ParquetFormat(kind="parquet")
    table = read(tmp_path / "data.parquet", form, names=("tokens", "tags"))
    assert entities(table)[0] == WANTED and "0 tokens, but 1 tags" in table.malformed["train:2"]
    table = read(tmp_path / "data.parquet", form, names=("text", "spans"))
    assert [row.label for row in table.rows] == ['[5,[[0,1,"PER"]]]', ""]
    assert table.unlabelled == {"train:2"}  # no annotation is not the same as no entity
    assert set(SPACE.checks()["missing_label"](table.rows)) == {"train:2"}


def test_xml(tmp_path: Path) -> None:
    path = tmp_path / "data.xml"
    rows = "<A><City>New</City> <City>York,</City> <Null>x</Null> <Zip>1</Zip></A>\n<A><Zip>2</Zip></A>"
    path.write_text(f"<All>{rows}</All>")
    form = params.TokenXmlFormat(kind="token_xml", element="A")
    table = read(path, form, names=("token", "tag"))
    assert [row.text for row in table.rows] == ["New York, x 1", "2"]
    assert entities(table) == [[[0, 2, "City"], [3, 4, "Zip"]], [[0, 1, "Zip"]]]
    with pytest.raises(DataError, match=r"has no texts\n.*A, All, City"):
        read(path, params.TokenXmlFormat(kind="token_xml", element="B"), names=("token", "tag"))
    path.write_text(
        "<All><A>at <City>Bonn</City>, <City>Rome</City>!<!-- one --></A><A><B><C>x</C></B></A></All>"
    )
    table = read(path, form, names=("token", "tag"))
    assert [row.text for row in table.rows] == ["at Bonn , Rome !"]  # nothing is left out
    assert entities(table) == [[[1, 2, "City"], [3, 4, "City"]]]
    assert table.malformed == {"train:2": "<B> has an element in it, <C>; entities cannot be nested"}
    path.write_text("<All><A>")
    with pytest.raises(DataError, match="is not valid XML"):
        read(path, form, names=("token", "tag"))


def test_types_are_normalized_renamed_and_taken_out(tmp_path: Path) -> None:
    table = read(jsonl(tmp_path, {"text": TEXT, "spans": [span(0, 3, "PER "), span(12, 15)]}), JSONL)
    label = table.rows[0].label
    assert SPACE.names(label) == ("LOC", "PER") and table.respelled == {("PER ", "PER"): 1}
    renamed = SPACE.renamed(label, {"LOC": None, "PER": "person"}.get)
    assert json.loads(renamed) == [5, [[0, 1, "person"]]]
    assert SPACE.target(renamed, {"person": 0}) == [1, 0, 0, 0, 0]
