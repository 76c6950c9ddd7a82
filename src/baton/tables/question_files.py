"""Read files in SQuAD's format (versions 1.1 and 2.0): nested JSON -> rows of question, context and answers.

    {"data": [{"title": …, "paragraphs": [{"context": …, "qas": [
        {"id": …, "question": …, "answers": [{"text": …, "answer_start": …}], "is_impossible": …}]}]}]}

Questions that cannot be answered have no answers. A question whose answers are not in the context at their
place has a fault, which names it.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from baton.errors import DataError

Span = tuple[int, int]
SHOWN = 40  # characters that a fault shows


@dataclass(frozen=True)
class Question:
    """A question of a file; `fault` says why it cannot be used, or is empty."""

    name: str  # its id in the file
    title: str  # of the article
    text: str
    context: str
    answers: tuple[Span, ...]  # (start, end) in characters of the context, each once; none: it has no answer
    fault: str = ""


def read(path: Path) -> Iterator[Question]:
    """Yield the questions of a file, in order.

    Raises:
        DataError: the file is not in the format.
    """
    try:
        articles = json.loads(path.read_text(encoding="utf-8"))["data"]
        for article in articles:
            for paragraph in article["paragraphs"]:
                for raw in paragraph["qas"]:
                    yield _question(str(article.get("title", "")), paragraph["context"], raw)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path} is not in SQuAD's format",
            got=f"{type(error).__name__}: {error}"[:200],
            expected='{"data": [{"paragraphs": [{"context": …, "qas": […]}]}]}',
            hint="set preprocess.format to the file's own, with columns for question, context and answers",
        ) from None


def _question(title: str, context: str, raw: Mapping[str, Any]) -> Question:
    answers, faults = [], []
    for number, answer in enumerate(raw.get("answers") or (), start=1):
        text, start = answer["text"], answer["answer_start"]
        if text and context[start : start + len(text)] == text and start >= 0:
            answers.append((start, start + len(text)))
        else:
            faults.append(_fault(number, text, start, context))
    if raw.get("is_impossible") and answers:
        faults.append("is_impossible, but it has an answer")
    if not raw.get("is_impossible", not raw.get("answers")) and not answers and not faults:
        faults.append("no answer, and not is_impossible")
    fault = "; ".join(faults)
    return Question(str(raw["id"]), title, raw["question"], context, tuple(dict.fromkeys(answers)), fault)


def _fault(number: int, text: str, start: int, context: str) -> str:
    if not text:
        return f"answer {number} is empty"
    there = context.find(text)
    where = f"; it is at {there}" if there >= 0 else "; it is nowhere in it"
    shown = text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
    return f"answer {number} {shown!r} is not in the context at character {start}{where}"
