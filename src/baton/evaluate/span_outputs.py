"""The answers of a model to n questions, and their figures as functions of sums over questions.

Figures are SQuAD's, of answers as texts (`tasks.squad_scores`): exact match and F1 of each question against
the best of its true answers, and their means (Rajpurkar et al. 2016; of questions that have an answer and
of those that have none: Rajpurkar et al. 2018).

Inputs: logits of words, or what a served model answered, and the questions -> `figures`.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baton.contracts.questions import Questions
from baton.contracts.ragged import Ragged
from baton.contracts.task_spec import Spans
from baton.evaluate import proportions
from baton.evaluate.resampling import widest
from baton.tasks import span_answers, squad_scores
from baton.tasks.span_answers import SpanAnswers

Floats = NDArray[np.float64]

# The columns of `statistics`: of each question 1, its exact match and F1, whether the model gives an answer,
# whether there is one, and exact match and F1 if there is.
ROWS, EXACT, F1, GIVEN, HAS, HAS_EXACT, HAS_F1 = range(7)


@dataclass(frozen=True)
class SpanOutputs:
    """A model's outputs for n questions: logits of words as trained, or answers that it gave."""

    spec: Spans
    logits: Ragged | None = None  # of "no answer" and the context's words, (units, 2)
    answered: SpanAnswers | None = None  # if there are no logits
    temperature: float = 1.0  # this and the following: fitted on validation
    threshold: float | None = 0.0  # None: every question gets an answer
    C: float | None = None  # no baseline has one

    def __getitem__(self, rows: NDArray[Any]) -> "SpanOutputs":
        """Return the outputs for `rows` alone: indices, or a mask (n,)."""
        logits = None if self.logits is None else self.logits[rows]
        answered = None if self.answered is None else self.answered[rows]
        return replace(self, logits=logits, answered=answered)

    def answers(self, targets: Questions) -> SpanAnswers:
        """Return the answers to the questions."""
        if self.logits is None:
            assert self.answered is not None, "outputs have logits or answers"
            return self.answered
        contexts = targets.passages.contexts.tolist()
        return span_answers.of_logits(self.logits, contexts, self.spec, self.temperature, self.threshold)


def statistics(targets: Questions, answers: SpanAnswers) -> Floats:
    """Return the per-question statistics whose sums `figures` reads, (n, 7)."""
    true = [[one for one in row if squad_scores.normal(one)] for row in targets.passages.answers]
    found = np.array(
        [squad_scores.score(text, row) for text, row in zip(answers.texts, true, strict=True)], np.float64
    ).reshape(-1, 2)
    has = np.array([len(row) > 0 for row in true], np.float64)
    columns = [np.ones(len(true)), *found.T, answers.given, has, *(found.T * has)]
    return np.stack([np.asarray(column, np.float64) for column in columns], axis=1)


def figures(sums: Floats, whole: Floats | None = None) -> dict[str, Floats]:
    """Return the figures for sums (..., 7); each value has the leading shape of `sums`.

    - f1, exact_match: means over questions.
    - answered: share of questions to which the model gives an answer.
    - has_answer_f1, has_answer_exact, no_answer_exact: means over questions that have an answer, and that
      have none (of which F1 is exact match); absent unless there are both.

    If `sums` are those of resamples, `whole` (7,) are the sums over all rows, which decide what is absent. A
    mean over no question is NaN.
    """
    rows, has = sums[..., ROWS], sums[..., HAS]
    result = {
        "f1": sums[..., F1] / rows,
        "exact_match": sums[..., EXACT] / rows,
        "answered": sums[..., GIVEN] / rows,
    }
    every = sums if whole is None else whole
    if not 0 < every[..., HAS].sum() < every[..., ROWS].sum():
        return result
    with np.errstate(invalid="ignore"):
        return result | {
            "has_answer_f1": sums[..., HAS_F1] / has,
            "has_answer_exact": sums[..., HAS_EXACT] / has,
            "no_answer_exact": (sums[..., EXACT] - sums[..., HAS_EXACT]) / (rows - has),
        }


def mean(values: Floats, confidence: float) -> tuple[float, float, float]:
    """Return the mean of scores from 0 to 1, one per question, and the ends of its interval.

    It is the normal interval of a mean, but never narrower than `proportions.mean_share`, which has a
    width even if all questions are answered perfectly.
    """
    if not len(values):
        return float("nan"), float("nan"), float("nan")
    value = float(values.mean())
    half = proportions.normal(confidence) * proportions.standard_error(values)
    low, high = proportions.around_mean(values, confidence)
    ends = widest((value - half, value + half), (value + low, value + high))
    return value, max(0.0, ends[0]), min(1.0, ends[1])
