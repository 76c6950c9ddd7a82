"""Which words of a text spoke for a model's answer, and whether they are the words that it used.

Inputs: test rows and a model's outputs -> the answers to explain; what `measure.text_measurements` finds of
them -> tables/attributions.csv and tables/deletion.csv.

The deletion test takes away the words that spoke most for an answer, and as many random ones: if it used the
first, its probability falls by more ("comprehensiveness" of DeYoung et al. 2020, ERASER: A benchmark to
evaluate rationalized NLP models, section 4.2). The same is done with pixels of images.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baton.contracts.task_spec import Classes, Labels, TaskSpec
from baton.evaluate import label_outputs
from baton.evaluate.inputs import Rows
from baton.evaluate.report.csv_files import Table
from baton.evaluate.report.image_galleries import mistakes

MODEL = "student"  # whose answers are explained: the model that is shipped
SHARE = 0.2  # of a text's words, at most, that the deletion test takes away
WORDS = ["model", "id", "answer", "place", "before", "word", "attribution", "marked"]
# `parts` are words that are read, or pixels.
DELETION = ["model", "id", "answer", "right", "parts", "removed", "probability", "without", "without_random"]


@dataclass(frozen=True)
class Answer:
    """What a model said of a row: a class, or of several labels the one of which it was surest."""

    row: int  # of test
    name: int  # the class or label
    given: bool  # False: the model left this label out, so words speak against it
    right: bool


@dataclass(frozen=True)
class Explained:
    """Which words spoke for an answer, in the order of the text."""

    answer: Answer
    words: Sequence[str]  # (words)
    before: Sequence[str]  # (words): what lies between each word and the one before it
    scores: NDArray[np.float64]  # (words): above 0 speaks for the answer; NaN: the model does not read it
    probability: float  # of the answer, as is
    without: float  # without the words of `strongest`
    without_random: float  # without as many random words that the model reads: the mean over several draws


def answers(spec: TaskSpec, test: Rows, outputs: Any, errors: int) -> list[Answer]:
    """Return the most confident errors, at most so many, and as many right answers; none of other tasks.

    Errors are those with which errors.csv begins. Right answers are drawn by the digests of their ids.
    """
    match spec:
        case Classes():
            name, given = np.asarray(outputs.predicted), np.ones(len(test.ids), np.bool_)
            right = name == test.targets
            rows = mistakes(test, outputs)[0][:errors]
        case Labels():
            predicted = outputs.predicted
            rows, sure = label_outputs.mistakes(test.targets, outputs)
            rows = rows[:errors]
            right = (predicted == (test.targets > 0)).all(axis=1) & predicted.any(axis=1)
            name = np.where(right[:, None], np.where(predicted, outputs.probabilities, 0), sure).argmax(
                axis=1
            )
            given = predicted[np.arange(len(name)), name]
        case _:
            return []
    drawn = sorted(np.flatnonzero(right), key=lambda row: hashlib.sha256(test.ids[row].encode()).digest())
    chosen = [*rows.tolist(), *map(int, drawn[: len(rows)])]
    return [Answer(row, int(name[row]), bool(given[row]), bool(right[row])) for row in chosen]


def strongest(scores: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which words spoke most for an answer, (words,): those above 0, at most `SHARE` of those read.

    It may be one word of a short text.
    """
    read = int(np.isfinite(scores).sum())
    order = np.argsort(-np.nan_to_num(scores, nan=-np.inf), kind="stable")[: max(1, round(SHARE * read))]
    found = np.zeros(len(scores), np.bool_)
    found[order] = np.nan_to_num(scores[order]) > 0
    return found


def tables(
    found: Sequence[Explained], model: str, ids: Sequence[str], names: Sequence[str]
) -> dict[str, Table]:
    """Return attributions.csv, of errors, and deletion.csv; none if nothing is explained.

    Args:
        found: errors and right answers.
        model: whose answers they are.
        ids: of the test rows.
        names: of the classes or labels.
    """
    if not found:
        return {}
    wrong = (one for one in found if not one.answer.right)
    lines = [line for one in wrong for line in _words(one, model, ids, names)]
    tested = [
        [
            model,
            ids[one.answer.row],
            _said(one.answer, names),
            int(one.answer.right),
            int(np.isfinite(one.scores).sum()),
            int(strongest(one.scores).sum()),
            one.probability,
            one.without,
            one.without_random,
        ]
        for one in found
    ]
    return {"attributions.csv": (WORDS, lines), "deletion.csv": (DELETION, tested)}


def pixels_deleted(
    model: str,
    ids: Sequence[str],
    names: Sequence[str],
    attributions: NDArray[np.float32],
    probabilities: NDArray[np.float64],
) -> list[list[object]]:
    """Return rows of deletion.csv on wrong answers about images.

    Args:
        model: whose answers they are.
        ids: of the rows (images,).
        names: the answers (images,).
        attributions: of the pixels, (images, height, width).
        probabilities: as is, without the strongest pixels, and without random ones, (images, 3).
    """
    return [
        [model, id_, name, 0, scores.size, int(strongest(scores.reshape(-1)).sum()), *p]
        for id_, name, scores, p in zip(ids, names, attributions, probabilities.tolist(), strict=True)
    ]


def _words(
    one: Explained, model: str, ids: Sequence[str], names: Sequence[str]
) -> Iterable[Sequence[object]]:
    """Yield a line for each word up to the last that is read; `attribution` is empty if it is not."""
    marked, read = strongest(one.scores), np.flatnonzero(np.isfinite(one.scores))
    own = [model, ids[one.answer.row], _said(one.answer, names)]
    for place in range(int(read[-1]) + 1 if len(read) else 0):
        before = " " if one.before[place].isspace() else one.before[place]
        yield [*own, place, before, one.words[place], float(one.scores[place]), int(marked[place])]


def _said(answer: Answer, names: Sequence[str]) -> str:
    return names[answer.name] if answer.given else f"not {names[answer.name]}"
