"""The texts that a model wrote for n rows, and how well each row was answered."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from baton.evaluate import proportions
from baton.evaluate.resampling import widest
from baton.tasks import text_scores

Floats = NDArray[np.float64]
STEP = 1e-4  # of a sum, relative, for the slope of chrF


@dataclass(frozen=True)
class SequenceOutputs:
    """A model's texts for n rows."""

    texts: tuple[str, ...] = field(repr=False)
    C: float | None = None  # no baseline of texts is regularised
    _scored: dict[tuple[str, ...], Floats] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def statistics(self, references: Sequence[str]) -> Floats:
        """Return `text_scores.statistics`, and keep them: rows, slices and resamples need the same."""
        wanted = tuple(references)
        if wanted not in self._scored:
            self._scored.clear()
            self._scored[wanted] = text_scores.statistics(wanted, self.texts)
        return self._scored[wanted]


def scores(statistics: Floats) -> Floats:
    """Return chrF of each row alone, (n,), from its `text_scores.statistics` (n, columns)."""
    return text_scores.chrf(statistics)


def of_rows(statistics: Floats, confidence: float) -> tuple[float, float, float]:
    """Return chrF of rows' statistics (n, columns), and the ends of its interval.

    It is the normal interval of a smooth function of means over rows (the delta method; Cochran 1977,
    Sampling techniques, 6.3), but never narrower than `proportions.mean_share`.
    """
    value = float(text_scores.chrf(statistics.sum(axis=0)))
    half = proportions.normal(confidence) * proportions.standard_error(pseudo_values(statistics))
    low, high = proportions.around_mean(scores(statistics), confidence)
    ends = widest((value - half, value + half), (value + low, value + high))
    return value, max(0.0, ends[0]), min(1.0, ends[1])


def pseudo_values(statistics: Floats) -> Floats:
    """Return a score of each row, (n,): their mean is chrF of all rows, see `f1_bootstrap.pseudo_values`."""
    sums = statistics.sum(axis=0)
    steps = np.diag(np.maximum(sums, 1) * STEP)
    slopes = (text_scores.chrf(sums + steps) - text_scores.chrf(sums - steps)) / (2 * steps.diagonal())
    return np.asarray(text_scores.chrf(sums) + (len(statistics) * statistics - sums) @ slopes)
