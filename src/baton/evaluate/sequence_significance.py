"""Intervals and paired tests for models that wrote texts for the same test rows.

- chrF, BLEU (Koehn 2004, Statistical significance tests for machine translation evaluation) and exact match,
  and differences, have the intervals of `answer_bootstrap`.
- Differences in chrF are tested by approximate randomisation: if two models are equally good, their texts for
  a row can be exchanged (Riezler & Maxwell 2005, On some pitfalls in automatic evaluation and significance
  testing for MT).

Inputs: `text_scores.statistics` -> figures with intervals, differences, tests.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baton import params
from baton.evaluate import (
    multiple_comparisons,
    randomisation,
    sequence_outputs,
)
from baton.evaluate.answer_bootstrap import AnswerBootstrap
from baton.evaluate.randomisation import SAME
from baton.tasks import text_scores

Floats = NDArray[np.float64]

FIGURES = ("chrf", "bleu", "exact_match")


class SequenceBootstrap(AnswerBootstrap):
    """Point sums and resampled figures of several models on the same rows."""

    def __init__(self, statistics: Mapping[str, Floats], settings: params.Bootstrap) -> None:
        """Draw once for all models; `statistics` maps a model's name to its `text_scores.statistics`."""
        super().__init__(statistics, lambda sums, _: text_scores.figures(sums), settings)

    def scores(self, name: str) -> Floats:
        """Return chrF of each row, (n,)."""
        return sequence_outputs.scores(self.statistics[name])

    def hits(self, name: str) -> NDArray[np.bool_]:
        """Return the rows whose text is the reference, (n,)."""
        return np.asarray(self.statistics[name][:, text_scores.EXACT] > 0)


def randomised_p(first: Floats, second: Floats, resamples: int, seed: int) -> float:
    """Return the two-sided p of equal chrF, by exchanging the two models' texts of random rows.

    Args:
        first: the first model's `text_scores.statistics`, (n, columns).
        second: the second's.
        resamples: the number of random exchanges; p is at least 1 / (resamples + 1).
        seed: of the draws.
    """
    one, other = first[:, text_scores.CHRF], second[:, text_scores.CHRF]
    total, change = (one + other).sum(axis=0), one - other
    gap = partial(_gap, total)
    return randomisation.exchanged_p(change, gap, abs(gap(change.sum(axis=0))) - SAME, resamples, seed)


def _gap(total: Floats, change: Floats) -> Any:
    """Return the difference in chrF of two models, from sum and difference of their statistics."""
    return text_scores.chrf((total + change) / 2) - text_scores.chrf((total - change) / 2)


def paired(boot: SequenceBootstrap, first: str, second: str, pairs: int = 1) -> dict[str, Any]:
    """Compare `first` with `second`, one of `pairs` comparisons.

    Differences have intervals; `chrf_p` is that of `randomised_p`, and the interval of chrF is extended to 0
    if p is not below 1 - confidence. The rest is that of `AnswerBootstrap.tested`.
    """
    draws = randomisation.exchanges(boot.settings, pairs)
    p_value = randomised_p(boot.statistics[first], boot.statistics[second], draws, boot.settings.seed)
    return boot.tested(first, second, FIGURES, p_value)


def compared(boot: SequenceBootstrap, pairs: Sequence[tuple[str, str]]) -> dict[str, dict[str, Any]]:
    """Return `first_vs_second` -> `paired`, and what holds for all pairs.

    The latter is that of `multiple_comparisons.adjust`, for chrF.
    """
    result = {f"{first}_vs_{second}": paired(boot, first, second, len(pairs)) for first, second in pairs}
    multiple_comparisons.adjust(boot, pairs, result, "chrf")
    return result
