"""Intervals and paired tests for models that answered the same questions.

- F1 has the percentile bootstrap's interval over questions, but never a narrower one than that of a mean over
  rows: resampling a table without mistakes finds none. Shares, such as exact match, have Wilson's.
- Differences have the paired bootstrap's, but never a narrower one than Tango's of two models that are right
  on the same questions; that of exact match is Tango's itself.
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
from baton.evaluate import multiple_comparisons, proportions, randomisation, significance, span_outputs
from baton.evaluate.randomisation import SAME
from baton.evaluate.resampling import Resamples, interval, widest
from baton.evaluate.sequence_outputs import mean_interval
from baton.tasks.span_answers import SpanAnswers

Floats = NDArray[np.float64]

COMPARED = ("f1", "exact_match")
KEPT = (*COMPARED, "has_answer_f1", "no_answer_exact")  # of the teacher by the student


class SpanBootstrap(Resamples):
    """Point sums and resampled figures of several models on the same questions, and their answers."""

    def __init__(
        self, questions: Questions, answers: Mapping[str, SpanAnswers], settings: params.Bootstrap
    ) -> None:
        """Draw once for all models; `answers` maps a model's name to what it answered."""
        self.settings, self.answers = settings, answers
        statistics = {name: span_outputs.statistics(questions, own) for name, own in answers.items()}
        super().__init__(statistics, span_outputs.figures, settings)

    def _interval(self, name: str, figure: str) -> list[float]:
        own = self.statistics[name]
        has = own[:, span_outputs.HAS] > 0
        rows = {"has": has, "no": ~has}.get(figure.partition("_")[0], np.full(len(own), True))
        value = float(self.points[name][figure])
        if not figure.endswith("f1"):
            low, high = proportions.wilson(value * rows.sum(), rows.sum(), self.confidence)
            return [float(low), float(high)]
        below, above = mean_interval(own[rows, span_outputs.F1], self.confidence)
        drawn = interval(self.drawn[name][figure], self.confidence)
        return widest(drawn, (max(0.0, value + below), min(1.0, value + above)))

    def difference(
        self, first: str, second: str, figure: str, confidence: float | None = None
    ) -> tuple[float, list[float]]:
        """Return `first` minus `second` in `figure`, with its paired interval."""
        level = self.confidence if confidence is None else confidence
        value, drawn = super().difference(first, second, figure, level)
        if figure == "exact_match":
            pair = significance.discordant(self.hits(first), self.hits(second))
            return value, list(proportions.paired_interval(*pair, len(self.hits(first)), level))
        has = self.statistics[first][:, span_outputs.HAS] > 0
        rows = {"has": has.sum(), "no": (~has).sum()}.get(figure.partition("_")[0], len(has))
        low, high = proportions.paired_interval(0, 0, int(rows), level)
        return value, widest(drawn, (max(-1.0, value + low), min(1.0, value + high)))

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
    is not below 1 - confidence. `discordant` holds the questions that only the first, and only the second,
    answers exactly; `exact_match_p` is McNemar's mid-p.
    """
    draws = randomisation.exchanges(boot.settings, pairs)
    p_value = randomised_p(boot.scores(first), boot.scores(second), draws, boot.settings.seed)
    pair = significance.discordant(boot.hits(first), boot.hits(second))
    return randomisation.tested(boot, first, second, COMPARED, p_value) | {
        "discordant": [*pair],
        "exact_match_p": proportions.paired_p(*pair),
    }


def compared(boot: SpanBootstrap, pairs: Sequence[tuple[str, str]]) -> dict[str, dict[str, Any]]:
    """Return `first_vs_second` -> `paired`, and what holds for all pairs.

    The latter is that of `multiple_comparisons.adjust`, for F1.
    """
    result = {f"{first}_vs_{second}": paired(boot, first, second, len(pairs)) for first, second in pairs}
    multiple_comparisons.adjust(boot, pairs, result, "f1")
    return result
