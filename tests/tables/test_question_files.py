"""Questions with answers in every form, and what is wrong with them, named by row."""

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
from baton.tables.extra_columns import ExtraColumns
from baton.tables.rows import RawTable
from baton.tables.span_cells import SpanCells

CELLS = SpanCells(30)
SQUAD = params.SquadFormat(kind="squad")
JSONL = params.JsonLinesFormat(kind="jsonl", encoding="utf-8")
CONTEXT = "The Andes are the longest range. The Andes rise in Peru."
NAMES = Columns("question", "answers", pair="context", extra=ExtraColumns(group="title", kept=("id",)))


def read(path: Path, form: Any = SQUAD, wanted: Columns = NAMES) -> RawTable:
    return readers.read(path, "train", form, wanted, CELLS.read, CELLS.joined)


def write(folder: Path, *questions: dict[str, Any]) -> Path:
    article = {"title": "Andes", "paragraphs": [{"context": CONTEXT, "qas": list(questions)}]}
    path = folder / "data.json"
    path.write_text(json.dumps({"version": "v2.0", "data": [article]}), encoding="utf-8")
    return path


def question(number: int, *answers: tuple[str, int], **more: Any) -> dict[str, Any]:
    given = [{"text": text, "answer_start": start} for text, start in answers]
    return {"id": f"q{number}", "question": f"Question {number}?", "answers": given} | more


def test_questions_with_and_without_answers(tmp_path: Path) -> None:
    table = read(
        write(
            tmp_path,
            question(1, ("Peru", 51), ("in Peru", 48), ("Peru", 51)),
            question(2, is_impossible=True, plausible_answers=[{"text": "Peru", "answer_start": 51}]),
            question(3, ("Andes", 37), is_impossible=False),
        )
    )
    first = table.rows[0]
    assert (first.text, first.pair, first.extras.group) == ("Question 1?", CONTEXT, "Andes")
    assert first.extras.kept == ("q1",) and not table.malformed
    found = [CELLS.target(row.label, {}) for row in table.rows]
    # The Andes are the longest range . The Andes rise in Peru .
    assert found[0] == {
        "text": ["Peru", "in Peru"],
        "answer_start": [51, 48],
        "marks": [0, *[0] * 10, 1, 3, 0],
    }
    assert found[1] == {"text": [], "answer_start": [], "marks": [3, *[0] * 13]}
    assert found[2]["marks"] == [0, *[0] * 8, 3, *[0] * 4]
    (note,) = CELLS.notes(table, {})
    assert note.endswith("1 of 3 questions have no answer")


def test_a_question_without_a_list_of_answers_was_not_annotated(tmp_path: Path) -> None:
    path = write(
        tmp_path, {"id": "a", "question": "Where?"}, {"id": "b", "question": "Who?", "answers": None}
    )
    path.write_text(path.read_text("utf-8").replace('"title": "Andes", ', ""), "utf-8")
    rows = read(path).rows
    assert [row.label for row in rows] == ["", ""]  # a missing label
    assert {row.extras.group for row in rows} == {CONTEXT}, "without a title, the context groups them"


@pytest.mark.parametrize(
    ("made", "fault"),
    [
        (question(1, ("Peru", 50)), "answer 1 'Peru' is not in the context at character 50; it is at 51"),
        (question(1, ("Peru", 51), ("Chile", 3)), "answer 2 'Chile' is not in the context at character 3"),
        (question(1, ("Peru", -5)), "answer 1 'Peru' is not in the context at character -5; it is at 51"),
        (question(1, ("Peru", 510)), "is not in the context at character 510"),
        (question(1, ("Lima", 51)), "at character 51; it is nowhere in it"),
        (question(1, ("", 0)), "answer 1 is empty"),
        (question(1, (" ", 3)), "answer 1 is empty"),
        (question(1, ("Peru", 51), is_impossible=True), "is_impossible, but it has an answer"),
        (question(1, is_impossible=False), "no answer, and not is_impossible"),
        (question(0, ("Peru", 51)), "its id 'q0' is that of row train:1"),
        (question(1, answers="Peru"), "answers 'Peru' are not a JSON list"),
        (question(1, answers=[{"text": "Peru"}]), "answer 1 is not an object with text and answer_start"),
    ],
)
def test_a_question_that_cannot_be_used_is_named(tmp_path: Path, made: Any, fault: str) -> None:
    table = read(write(tmp_path, question(0, ("Peru", 51)), made))
    assert len(table.rows) == 1 and list(table.malformed) == ["train:2"]
    assert fault in table.malformed["train:2"]


@pytest.mark.parametrize(
    "content", ["[]", "{", '{"data": [{"paragraphs": [{"qas": [{}]}]}]}', '{"rows": []}']
)
def test_another_format_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "other.json").write_text(content)
    with pytest.raises(DataError, match="not in SQuAD's format"):
        read(tmp_path / "other.json")


def test_a_column_that_the_format_lacks_is_refused(tmp_path: Path) -> None:
    wanted = Columns("question", "answers", pair="passage")
    with pytest.raises(DataError, match="has no column 'passage'"):
        read(write(tmp_path, question(0)), SQUAD, wanted)


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
@pytest.mark.parametrize("form", ["list", "columns"])
def test_tables_have_the_answers_of_the_format(tmp_path: Path, kind: str, form: str) -> None:
    listed = [[("Peru", 51)], []]
    cells: list[Any] = [[{"text": text, "answer_start": start} for text, start in own] for own in listed]
    if form == "columns":
        cells = [
            {"text": [text for text, _ in own], "answer_start": [start for _, start in own]} for own in listed
        ]
    rows = [{"question": f"{n}?", "context": CONTEXT, "answers": cell} for n, cell in enumerate(cells)]
    path, given = tmp_path / f"data.{kind}", params.ParquetFormat(kind="parquet")
    if kind == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    else:
        pq.write_table(pa.Table.from_pylist(rows), path)
    wanted = Columns("question", "answers", pair="context")
    table = read(path, JSONL if kind == "jsonl" else given, wanted)
    assert [CELLS.target(row.label, {})["text"] for row in table.rows] == [["Peru"], []]


def test_no_context_is_in_two_splits_and_questions_about_one_are_not_near_duplicates(tmp_path: Path) -> None:
    """Six long contexts, of which four have seven questions each, two are nearly one; one row has a fault."""
    from baton.tables import clean

    texts = [f"first w3 {' '.join(f'word{place}{n}' for n in range(60))}" for place in range(4)]
    texts += [f"{texts[0]} again", "other words of an article that is short"]
    articles = []
    for place, context in enumerate(texts):
        asked = [
            {
                "id": f"{place}-{n}",
                "question": f"what is {n}?",
                "answers": [{"text": "w3", "answer_start": at}],
            }
            for n in range(7)
            if (at := context.find("w3")) >= 0 or not n
        ]
        articles.append({"title": f"title {place}", "paragraphs": [{"context": context, "qas": asked}]})
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/train.json").write_text(json.dumps({"data": articles}))
    files = {"files": {"train": {"path": "train.json"}}}
    (tmp_path / "raw/manifest.json").write_text(json.dumps(files))
    raw = params.read_raw(Path(__file__).parents[2] / "recipes/spans-squad.yaml")
    raw["preprocess"]["max_dropped"] = {"rows": 0.1, "rows_of_class": 1.0}
    asked = params.checked(raw, tmp_path)
    report = clean.clean(tmp_path / "raw", tmp_path / "clean", asked.preprocess, asked.task)
    assert report["checks"]["malformed"]["reasons"] == {
        "train:36": "answer 1 'w3' is not in the context at character -1; it is nowhere in it"
    }
    assert set(report["checks"]["near_duplicate"]["rows"]) == {f"train:{n}" for n in range(29, 36)}
    contexts = [
        {*pq.read_table(tmp_path / f"clean/{split}.parquet")["text_pair"].to_pylist()}
        for split in ("train", "val", "test")
    ]
    assert sum(map(len, contexts)) == len(set().union(*contexts)) == 5 and all(contexts)
    assert not any("text that is also in" in note for note in report["notes"])


def test_an_answer_that_cuts_a_word_is_widened_and_noted(tmp_path: Path) -> None:
    """The text keeps its form; white space at its ends is no cut."""
    table = read(write(tmp_path, question(1, ("long", 18)), question(2, (" range", 25))))
    found = [CELLS.target(row.label, {}) for row in table.rows]
    assert [one["text"] for one in found] == [["long"], [" range"]]
    assert [one["marks"].index(3) for one in found] == [5, 6]
    note = next(note for note in CELLS.notes(table, {}) if "cuts a word" in note)
    assert "1 question has an answer that cuts a word (train:1)" in note
    few = next(
        note for note in SpanCells(1).notes(read(write(tmp_path, question(1, ("in Peru", 48)))), {})[1:]
    )
    assert "1 question has only answers of more than 1 words (train:1)" in few
