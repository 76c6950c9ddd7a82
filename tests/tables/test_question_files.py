"""Files in SQuAD's format: both versions are read, and answers that are not where they say are named."""

import json
from pathlib import Path
from typing import Any

import pytest

from baton.errors import DataError
from baton.tables import question_files

CONTEXT = "The Andes are the longest range. The Andes rise in Peru."


def write(path: Path, *questions: dict[str, Any]) -> Path:
    article = {"title": "Andes", "paragraphs": [{"context": CONTEXT, "qas": list(questions)}]}
    path.write_text(json.dumps({"version": "v2.0", "data": [article]}), encoding="utf-8")
    return path


def question(number: int, *answers: tuple[str, int], **more: Any) -> dict[str, Any]:
    given = [{"text": text, "answer_start": start} for text, start in answers]
    return {"id": f"q{number}", "question": f"Question {number}?", "answers": given} | more


def test_questions_with_and_without_answers(tmp_path: Path) -> None:
    path = write(
        tmp_path / "dev.json",
        question(1, ("Peru", 51), ("in Peru", 48), ("Peru", 51)),
        question(2, is_impossible=True, plausible_answers=[{"text": "Peru", "answer_start": 51}]),
        question(3, ("Andes", 37), is_impossible=False),
    )
    first, second, third = question_files.read(path)
    assert (first.name, first.title, first.text, first.context) == ("q1", "Andes", "Question 1?", CONTEXT)
    assert first.answers == ((51, 55), (48, 55)) and not first.fault
    assert second.answers == () and not second.fault
    assert [third.context[start:end] for start, end in third.answers] == ["Andes"]


@pytest.mark.parametrize(
    ("made", "fault"),
    [
        (question(1, ("Peru", 50)), "answer 1 'Peru' is not in the context at character 50; it is at 51"),
        (question(1, ("Peru", 51), ("Chile", 3)), "answer 2 'Chile' is not in the context at character 3"),
        (question(1, ("Peru", -5)), "answer 1 'Peru' is not in the context at character -5; it is at 51"),
        (question(1, ("Peru", 510)), "is not in the context at character 510"),
        (question(1, ("", 0)), "answer 1 is empty"),
        (question(1, ("Peru", 51), is_impossible=True), "is_impossible, but it has an answer"),
        (question(1, is_impossible=False), "no answer, and not is_impossible"),
    ],
)
def test_an_answer_that_is_not_in_its_context_is_named(tmp_path: Path, made: Any, fault: str) -> None:
    (found,) = question_files.read(write(tmp_path / "train.json", made))
    assert fault in found.fault


@pytest.mark.parametrize(
    "content", ["[]", "{", '{"data": [{"paragraphs": [{"qas": [{}]}]}]}', '{"rows": []}']
)
def test_another_format_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "other.json").write_text(content)
    with pytest.raises(DataError, match="not in SQuAD's format"):
        list(question_files.read(tmp_path / "other.json"))
