"""Intervals and paired tests for models that answered the same questions.

- Figures and differences have the intervals of `answer_bootstrap`, whose rows are questions.
- Differences in F1 are tested by approximate randomisation over questions, see `randomisation`.

Questions about one context are taken as independent, as is usual for SQuAD.

Inputs: questions and answers -> figures with intervals, differences, tests.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baton import params
from baton.contracts.questions import Questions
from baton.evaluate import multiple_comparisons, randomisation, span_outputs
from baton.evaluate.answer_bootstrap import AnswerBootstrap
from baton.evaluate.randomisation import SAME
from baton.tasks.span_answers import SpanAnswers

Floats = NDArray[np.float64]

COMPARED = ("f1", "exact_match")
KEPT = (*COMPARED, "has_answer_f1", "no_answer_exact")  # of the teacher by the student


class SpanBootstrap(AnswerBootstrap):
    """Point sums and resampled figures of several models on the same questions, and their answers."""

    def __init__(
        self, questions: Questions, answers: Mapping[str, SpanAnswers], settings: params.Bootstrap
    ) -> None:
        """Draw once for all models; `answers` maps a model's name to what it answered."""
        self.answers = answers
        statistics = {name: span_outputs.statistics(questions, own) for name, own in answers.items()}
        super().__init__(statistics, span_outputs.figures, settings)

    def is_share(self, figure: str) -> bool:
        """Return whether a figure is a share of questions: all but F1."""
        return not figure.endswith("f1")

    def rows(self, name: str, figure: str) -> NDArray[np.bool_]:
        """Return the questions that a figure is about: those that have an answer, that have none, or all."""
        has = np.asarray(self.statistics[name][:, span_outputs.HAS] > 0)
        return {"has": has, "no": ~has}.get(figure.partition("_")[0], np.full(len(has), True))

    def scores(self, name: str) -> Floats:
        """Return F1 of each question, (n,)."""
        own: Floats = self.statistics[name][:, span_outputs.F1]
        return own

    def hits(self, name: str) -> NDArray[np.bool_]:
        """Return the questions whose answer matches exactly, (n,)."""
        return np.asarray(self.statistics[name][:, span_outputs.EXACT] > 0)


def randomised_p(first: Floats, second: Floats, resamples: int, seed: int) -> float:
    """Return the two-sided p of equal mean F1, by exchanging the two models' answers to random questions.

    Args:
        first: F1 of each question by the first model, (n,).
        second: by the second.
        resamples: the number of random exchanges; p is at least 1 / (resamples + 1).
        seed: of the draws.
    """
    change = first - second
    least = abs(float(change.sum())) - SAME * len(change)
    return randomisation.exchanged_p(change, lambda sums: sums, least, resamples, seed)


def paired(boot: SpanBootstrap, first: str, second: str, pairs: int = 1) -> dict[str, Any]:
    """Compare `first` with `second`, one of `pairs` comparisons.

    Differences have intervals; `f1_p` is that of `randomised_p`, and the interval of F1 is extended to 0 if p
    is not below 1 - confidence. The rest is that of `AnswerBootstrap.tested`.
    """
    draws = randomisation.exchanges(boot.settings, pairs)
    p_value = randomised_p(boot.scores(first), boot.scores(second), draws, boot.settings.seed)
    return boot.tested(first, second, COMPARED, p_value)


def compared(boot: SpanBootstrap, pairs: Sequence[tuple[str, str]]) -> dict[str, dict[str, Any]]:
    """Return `first_vs_second` -> `paired`, and what holds for all pairs.

    The latter is that of `multiple_comparisons.adjust`, for F1.
    """
    result = {f"{first}_vs_{second}": paired(boot, first, second, len(pairs)) for first, second in pairs}
    multiple_comparisons.adjust(boot, pairs, result, "f1")
    return result
