"""Read files in SQuAD's format (versions 1.1 and 2.0): nested JSON -> rows of question, context and answers.

    {"data": [{"title": …, "paragraphs": [{"context": …, "qas": [
        {"id": …, "question": …, "answers": [{"text": …, "answer_start": …}], "is_impossible": …}]}]}]}

The columns are `id`, `title`, `question`, `context` and `answers`. Questions that cannot be answered have no
answers.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from baton.errors import DataError
from baton.tables import columns, encodings
from baton.tables.columns import Columns
from baton.tables.encodings import Encoding
from baton.tables.rows import RawTable

COLUMNS = ("id", "title", "question", "context", "answers")


def read(table: RawTable, wanted: Columns) -> None:
    """Add each question as a row; one that contradicts itself or repeats an id is malformed.

    Raises:
        DataError: the file is not in the format, or another column is wanted.
    """
    for name in wanted.names:
        if name not in COLUMNS:
            raise columns.missing(table.path, name, list(COLUMNS), wanted, "a file of SQuAD has only these")
    ids: dict[str, int] = {}
    for values, impossible in _questions(table):
        own = str(values["id"])
        number = ids.setdefault(own, table.count + 1)
        if number <= table.count:
            table.reject(f"its id {own!r} is that of row {table.split}:{number}")
        elif impossible and values["answers"]:
            table.reject("is_impossible, but it has an answer")
        elif impossible is False and values["answers"] == []:
            table.reject("no answer, and not is_impossible")
        else:
            table.add(*wanted.row({name: values[name] for name in wanted.names}))


def _questions(table: RawTable) -> Iterator[tuple[dict[str, Any], bool | None]]:
    """Yield the columns of each question, and whether it is said to be impossible (None: not said)."""
    try:
        with encodings.text(table.path, Encoding("utf-8-sig")) as file:
            articles = json.load(file)["data"]
        for article in articles:
            for paragraph in article["paragraphs"]:
                for raw in paragraph["qas"]:
                    yield _values(article, paragraph, raw), raw.get("is_impossible")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(
            f"{table.path} is not in SQuAD's format",
            got=f"{type(error).__name__}: {error}"[:200],
            expected='{"data": [{"paragraphs": [{"context": …, "qas": […]}]}]}',
            hint="set preprocess.format to the file's own, with columns for question, context and answers",
        ) from None


def _values(
    article: Mapping[str, Any], paragraph: Mapping[str, Any], raw: Mapping[str, Any]
) -> dict[str, Any]:
    answers = raw.get("answers")
    if answers is None and raw.get("is_impossible"):
        answers = []  # otherwise it was not annotated: a missing label
    return {
        "id": raw["id"],
        "title": article.get("title") or paragraph["context"],  # what groups questions
        "question": raw["question"],
        "context": paragraph["context"],
        "answers": answers,
    }
