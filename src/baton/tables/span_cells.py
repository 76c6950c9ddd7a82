"""What the cells of answers mean; see `target_cells.TargetCells`.

A row is a pair of texts, a question and its context. Its cell lists the answers, as texts with their first
characters in the context, in either of SQuAD's forms: `[{text, answer_start}, …]`, or `{text: […],
answer_start: […]}`. An empty list means that the context holds no answer.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, NamedTuple

from baton.contracts.task_spec import Spans
from baton.tables import label_checks, row_sets
from baton.tables.checks import SURROGATE, Check
from baton.tables.row_sets import Rows
from baton.tables.rows import Cell, Joined, RawTable, is_null, plain
from baton.tables.token_spans import WIDENED
from baton.tables.unnamed_cells import UnnamedCells
from baton.texts import words

SHOWN = 40  # characters of an answer in a message
ROWS = 3  # that a note names
KEYS = ("text", "answer_start")


class Answer(NamedTuple):
    """An answer: its text, where it starts in the context, and the words that it touches."""

    text: str
    start: int  # character
    first: int  # word of the context
    last: int


@dataclass(frozen=True)
class SpanCells(UnnamedCells):
    """A cell lists the true answers to a question.

    `Row.label` is the JSON of the number of the context's words and of the answers, each once; '' if the cell
    is null: it is then unknown whether there is an answer.
    """

    max_answer_words: int

    word: ClassVar[str] = "answer"
    words: ClassVar[str] = "answers"
    found: ClassVar[str] = "predicted"
    names_leave: ClassVar[bool] = False
    contexts: ClassVar[bool] = True

    def joined(self, text: Any, value: Any, pair: Any) -> Joined | str:
        """Return the question and the JSON of its answers in the context `pair`, or the fault."""
        question, context = plain(text), plain(pair)
        if question is None or context is None:
            what, other = ("question", text) if question is None else ("context", pair)
            return f"{what} is a {type(other).__name__}; a text is needed"
        if is_null(value):
            return Joined(question, None)
        items = listed(value)
        if isinstance(items, str):
            return items
        places, answers, marks = words.cut(context, Spans.words), dict[Answer, None](), set[str]()
        for number, (own, start) in enumerate(items, start=1):
            if fault := _fault(number, own, start, context):
                return fault
            end = start + len(own)
            touched = [place for place, (begin, stop) in enumerate(places) if begin < end and start < stop]
            if not touched:
                return f"answer {number} {_shown(own)} has no word"
            inner = start + len(own) - len(own.lstrip()), end - len(own) + len(own.rstrip())
            if inner != (places[touched[0]][0], places[touched[-1]][1]):
                marks.add(WIDENED)
            answers[Answer(own, start, touched[0], touched[-1])] = None
        label = json.dumps([len(places), list(answers)], ensure_ascii=False, separators=(",", ":"))
        return Joined(question, label, frozenset(marks))

    def read(self, value: Any) -> Cell | str:
        """Return the label that `joined` made."""
        return Cell("" if is_null(value) else str(value))

    def checks(self) -> dict[str, Check]:
        """Return the checks of answers that are null, and of one question with different answers."""
        return {
            "missing_label": label_checks.missing_label,
            "conflict": partial(label_checks.conflict, shown=_of_label),
        }

    def strata(self, rows: Rows) -> Iterable[str]:
        """Return whether each row has an answer."""
        return ("answered" if _answers(row.label) else "without answer" for row in row_sets.brief(rows))

    def too_few(self, train: Iterable[str]) -> str:
        """Return that train has no answer, if so."""
        if any(_answers(label) for label in train):
            return ""
        return "no answers: no question of train has one in its context after the checks"

    def notes(self, table: RawTable, known: Mapping[str, str]) -> list[str]:  # noqa: ARG002
        """Return notes on questions without an answer, and on answers that a model cannot give exactly."""
        answers = {row.id: _answers(row.label) for row in row_sets.brief(table.rows) if row.label}
        without = sum(not own for own in answers.values())
        notes = [f"{table.path}: {without:,} of {len(answers):,} questions have no answer"]
        if widened := table.marked[WIDENED]:
            has = _some(widened, "an answer that cuts a word")
            notes.append(
                f"{table.path}: {has}; a model learns the whole words, scores use the answer as it is"
            )
        most = self.max_answer_words
        long = [id_ for id_, own in answers.items() if own and min(map(_length, own)) > most]
        if long:
            has = _some(long, f"only answers of more than {most} words")
            notes.append(f"{table.path}: {has}, which task.max_answer_words does not allow a model")
        return notes

    def spec(self, names: list[str], train: Iterable[str] = ()) -> Spans:  # noqa: ARG002
        """Return the task."""
        return Spans(self.max_answer_words)

    def type(self) -> Any:
        """Return the Arrow type of the clean column: the answers, and the mark of each unit."""
        import pyarrow as pa

        kinds = {"text": pa.string(), "answer_start": pa.int32(), "marks": pa.int32()}
        return pa.struct({name: pa.list_(kind) for name, kind in kinds.items()})

    def target(self, label: str, places: Mapping[str, int]) -> dict[str, list[Any]]:  # noqa: ARG002
        """Return the answers, and the marks of "no answer" and of the context's words (`Spans`)."""
        count, answers = json.loads(label)[0], _answers(label)
        marks = [0] * (1 + count)
        for first, last in [(1 + one.first, 1 + one.last) for one in answers] or [(0, 0)]:
            marks[first] |= Spans.STARTS
            marks[last] |= Spans.ENDS
        texts = [SURROGATE.sub("\ufffd", one.text) for one in answers]
        return {"text": texts, "answer_start": [one.start for one in answers], "marks": marks}


def listed(value: Any) -> list[tuple[str, int]] | str:
    """Return the answers of a cell, (text, first character), or the fault."""
    if (written := plain(value)) is not None:
        try:
            value = json.loads(written)
        except (ValueError, RecursionError):
            return f"answers {written[:SHOWN]!r} are not a JSON list"
    if isinstance(value, dict):  # a list for each key
        columns = [column for key in KEYS if isinstance(column := value.get(key), list)]
        if len(columns) < len(KEYS) or len({*map(len, columns)}) > 1:
            return f"answers are not lists of {' and '.join(KEYS)}, equally many"
        value = [dict(zip(KEYS, one, strict=True)) for one in zip(*columns, strict=True)]
    if not isinstance(value, list):
        return f"answers are a {type(value).__name__}; a list is needed"
    found = []
    for number, item in enumerate(value, start=1):
        text = plain(item.get(KEYS[0])) if isinstance(item, dict) else None
        start = item.get(KEYS[1]) if isinstance(item, dict) else None
        if text is None or isinstance(start, bool) or not isinstance(start, int):
            return f"answer {number} is not an object with {' and '.join(KEYS)} (a whole number)"
        found.append((text, start))
    return found


def _fault(number: int, text: str, start: int, context: str) -> str:
    """Return why an answer cannot be used; '' if it is where it says."""
    if not text.strip():
        return f"answer {number} is empty"
    if start >= 0 and context[start : start + len(text)] == text:
        return ""
    there = context.find(text)
    where = f"it is at {there}" if there >= 0 else "it is nowhere in it"
    return f"answer {number} {_shown(text)} is not in the context at character {start}; {where}"


def _answers(label: str) -> list[Answer]:
    return [Answer(*one) for one in json.loads(label)[1]] if label else []


def _length(answer: Answer) -> int:
    return answer.last - answer.first + 1


def _shown(text: str) -> str:
    return repr(text if len(text) <= SHOWN else f"{text[:SHOWN]}…")


def _of_label(label: str) -> str:
    return ", ".join(_shown(one.text) for one in _answers(label)) or "no answer"


def _some(ids: list[str], what: str) -> str:
    more = f" and {len(ids) - ROWS} more" if len(ids) > ROWS else ""
    has = "questions have" if len(ids) > 1 else "question has"
    return f"{len(ids):,} {has} {what} ({', '.join(ids[:ROWS])}{more})"
