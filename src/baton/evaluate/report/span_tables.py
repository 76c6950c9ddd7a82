"""Tables and terminal cells for questions about a text.

Inputs: questions, answers and bootstrap of the test rows, or figures from metrics.json -> rows and cells.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baton.contracts.questions import Questions
from baton.contracts.task_spec import Spans
from baton.evaluate import span_outputs
from baton.evaluate.evaluation import Evaluation
from baton.evaluate.report import marked_texts
from baton.evaluate.report.csv_files import Table, excerpt
from baton.evaluate.report.wording import percent
from baton.tasks import squad_scores
from baton.tasks.span_answers import SpanAnswers
from baton.texts import words

EXAMPLES = 50  # rows of examples.csv, spread over the test split
WORST = 50  # rows per model of errors.csv
OPENINGS = 12  # kinds of question in strata.csv, the most frequent
OTHER = "(all others)"
LENGTHS = ((1, "1 word"), (2, "2 words"), (4, "3 to 4"), (8, "5 to 8"))  # the most words, and in words
LONGER = "9 and more"
STRATA = ["stratum", "value", "rows", "model", "f1", "f1_low", "f1_high", "exact_match", "answered"]
COVERAGE = ["model", "coverage", "f1"]
POINTS = 100  # of a curve
SHOWN = {  # figures -> columns of the terminal
    "exact_match": "exact match",
    "answered": "answered",
    "has_answer_f1": "F1 if answerable",
    "no_answer_exact": "unanswerable right",
    "calibration_error": "calibration error",
}
REMARK = (
    "F1 and exact match are SQuAD's: of words, without articles and punctuation, against the best of the "
    "true answers, a mean over questions; no answer is right for an unanswerable question alone. Questions "
    "about one context are taken as independent. The calibration error compares the probability of what is "
    "answered with how often it matches exactly."
)


def strata(questions: Questions, asked: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Return stratum -> its value for each question, (n,): answerable or not, words of the answer, opening.

    A question's answer is the first of the true ones; its opening is its first word.
    """
    counts = [len(own[0].split()) if own else 0 for own in questions.passages.answers]
    answerable = ["answerable" if count else "unanswerable" for count in counts]
    lengths = [
        next((name for most, name in LENGTHS if count <= most), LONGER) if count else "none"
        for count in counts
    ]
    openings = [(question.split() or [""])[0].lower() for question in asked]
    names, rows = np.unique(openings, return_counts=True)
    frequent = set(names[np.argsort(-rows, kind="stable")][:OPENINGS].tolist())
    openings = [one if one in frequent else OTHER for one in openings]
    found = {"answer": answerable, "answer length": lengths, "question": openings}
    return {name: np.array(own, dtype=object) for name, own in found.items() if len(set(own)) > 1}


def coverage(statistics: NDArray[np.float64], answers: SpanAnswers) -> list[tuple[float, float]]:
    """Return F1 of the questions of which a model is surest, for growing shares of them.

    Kamath et al. 2020, Selective question answering under domain shift. Questions of equal probability come
    together.
    """
    order = np.argsort(-answers.sure, kind="stable")
    means = np.cumsum(statistics[order, span_outputs.F1]) / np.arange(1, len(order) + 1)
    sure = answers.sure[order]
    ends = np.append(np.flatnonzero(np.diff(sure)), len(order) - 1)
    some = ends[np.unique(np.linspace(0, len(ends) - 1, min(POINTS, len(ends))).round().astype(np.int64))]
    return [((place + 1) / len(order), float(means[place])) for place in some.tolist()]


def tables(evaluation: Evaluation) -> dict[str, Table]:
    """Return strata.csv, coverage.csv, examples.csv and errors.csv.

    The first three have every model; errors.csv has what the drawn models are surest of among their mistakes.
    """
    boot, test = evaluation.bootstrap, evaluation.test
    covered = (
        [name, *point]
        for name in evaluation.outputs
        for point in coverage(boot.statistics[name], boot.answers[name])
    )
    return {
        "strata.csv": (STRATA, _strata(evaluation)),
        "coverage.csv": (COVERAGE, list(covered)),
        "examples.csv": _examples(evaluation),
        "errors.csv": (
            ["model", "id", "f1", "score", "question", "true", "answer", "context"],
            [row for name in evaluation.drawn for row in _errors(name, boot, test)],
        ),
    }


def _strata(evaluation: Evaluation) -> list[list[object]]:
    boot, rows = evaluation.bootstrap, list[list[object]]()
    for stratum, values in strata(evaluation.test.targets, asked(evaluation)).items():
        names, counts = np.unique(values, return_counts=True)
        for place in np.argsort(-counts, kind="stable"):
            own = values == names[place]
            for model in evaluation.outputs:
                part = boot.statistics[model][own]
                f1 = span_outputs.mean(part[:, span_outputs.F1], boot.confidence)
                others = (
                    float(part[:, column].mean()) for column in (span_outputs.EXACT, span_outputs.GIVEN)
                )
                rows.append([stratum, names[place], int(counts[place]), model, *f1, *others])
    return rows


def asked(evaluation: Evaluation) -> list[str]:
    """Return the questions."""
    pairs = evaluation.test.pairs
    assert pairs is not None, "questions and contexts are pairs"
    return [question for question, _ in pairs]


def _examples(evaluation: Evaluation) -> Table:
    boot, test, names = evaluation.bootstrap, evaluation.test, list(evaluation.outputs)
    count, questions = len(test.ids), asked(evaluation)
    chosen = np.unique(np.linspace(0, count - 1, min(EXAMPLES, count)).round().astype(np.int64))
    columns = ["id", "question", "true"]
    columns += [column for name in names for column in (name, f"{name}_f1", f"{name}_score")]
    rows = [
        [
            test.ids[row],
            excerpt(questions[row]),
            _true(test.targets, row),
            *(
                cell
                for name in names
                for cell in (
                    excerpt(boot.answers[name].texts[row]),
                    float(boot.scores(name)[row]),
                    float(boot.answers[name].sure[row]),
                )
            ),
        ]
        for row in chosen.tolist()
    ]
    return columns, rows


def _errors(name: str, boot: Any, test: Any) -> list[list[object]]:
    answers, scores = boot.answers[name], boot.scores(name)
    order = np.lexsort((-answers.sure, scores > 0))  # those without a common word first
    wrong = [row for row in order.tolist() if scores[row] < 1][:WORST]
    return [
        [
            name,
            test.ids[row],
            float(scores[row]),
            float(answers.sure[row]),
            excerpt(test.pairs[row][0]),
            _true(test.targets, row),
            excerpt(answers.texts[row]),
            _marked(test.targets, row, answers),
        ]
        for row in wrong
    ]


def _marked(questions: Questions, row: int, answers: SpanAnswers) -> str:
    """Return the part of a row's context around the true answer and the model's, see `marked_texts`.

    It is the context's beginning if there is neither.
    """
    context, found = questions.passages.contexts[row], None
    own = slice(questions.offsets[row] + 1, questions.offsets[row + 1])  # without "no answer"
    marks = np.flatnonzero(questions.values[own] & Spans.STARTS)
    starts = [place for place, _ in words.cut(context, Spans.words)]
    for text in questions.passages.answers[row]:
        places = [starts[unit] for unit in marks if context.startswith(text, starts[unit])]
        start = places[0] if places else context.find(text)
        if start >= 0:
            found = start, start + len(text)
            break
    given = (int(answers.starts[row]), int(answers.ends[row])) if answers.given[row] else None
    return marked_texts.around(context, found, given) if found or given else excerpt(context)


def _true(questions: Questions, row: int) -> str:
    """Return the true answers of a row that differ, in one line."""
    different = {squad_scores.normal(one): one for one in reversed(questions.passages.answers[row])}
    return excerpt(" | ".join(reversed(different.values())))


def summary(models: Mapping[str, Mapping[str, Any]]) -> tuple[list[str], dict[str, list[str]]]:
    """Return the terminal's columns, and model -> cells."""
    measured = [key for key in SHOWN if any(key in own for own in models.values())]
    columns = ["F1", "interval", *(SHOWN[key] for key in measured)]
    return columns, {name: _row(figures, measured) for name, figures in models.items()}


def _row(figures: Mapping[str, Any], measured: Sequence[str]) -> list[str]:
    low, high = figures["f1_interval"]
    cells = [percent(figures["f1"]), f"{100 * low:.1f} to {percent(high)}"]
    for key in measured:
        error = key == "calibration_error"
        cells.append(f"{figures[key]:.3f}" if error else percent(figures[key]))
    return cells
