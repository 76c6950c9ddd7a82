"""The best span is that of all pairs of start and end; the threshold has the highest score of all."""

import numpy as np
import pytest
from scipy.special import log_softmax

from baton.contracts.ragged import Ragged
from baton.tasks import span_decoding


def draw(seed: int, rows: int = 40) -> Ragged:
    random = np.random.default_rng(seed)
    counts = random.integers(1, 9, rows)  # units, "no answer" among them
    values = random.normal(size=(counts.sum(), 2)).astype(np.float32)
    return Ragged(values, np.concatenate([[0], np.cumsum(counts)]))


@pytest.mark.parametrize(("most", "temperature"), [(1, 1.0), (3, 2.5), (30, 0.5)])
def test_the_best_span_is_that_of_all_pairs(most: int, temperature: float) -> None:
    logits = draw(most)
    found = span_decoding.best(logits, most, temperature)
    for row in range(len(logits)):
        own = log_softmax(logits[[row]].values.astype(np.float64) / temperature, axis=0)  # (units, 2)
        pairs = {
            (first, last): own[first, 0] + own[last, 1]
            for first in range(1, len(own))
            for last in range(first, min(len(own), first + most))
        }
        assert found.none[row] == pytest.approx(own[0].sum(), abs=1e-12)
        if pairs:
            wanted = max(pairs, key=lambda pair: pairs[pair])
            assert (found.first[row], found.last[row]) == wanted
            assert found.score[row] == pytest.approx(pairs[wanted], abs=1e-12)
        else:
            assert found.first[row] == 0 and found.score[row] == -np.inf


def test_probabilities_are_over_all_units_of_a_row() -> None:
    """Negative control: a softmax for each window alone gives other answers."""
    logits = Ragged(np.array([[0, 0], [5, 5], [0, 0], [6, 6], [5.9, 5.9]], np.float32), np.array([0, 5]))
    assert span_decoding.best(logits, 1).first.tolist() == [3]
    alone = [log_softmax(part, axis=0).sum(axis=1).max() for part in (logits.values[:3], logits.values[3:])]
    assert alone[0] > alone[1], "the first window would win"


def mean(found: span_decoding.Best, value: float, with_span: np.ndarray, without: np.ndarray) -> float:
    return float(np.where(span_decoding.answered(found, value), with_span, without).mean())


@pytest.mark.parametrize("seed", range(10))
def test_the_threshold_is_the_best_of_all(seed: int) -> None:
    random = np.random.default_rng(seed)
    found = span_decoding.best(draw(seed), 30)
    scores = random.random(40), (random.random(40) < 0.4).astype(float)
    differences = (found.none - found.score)[found.first > 0]
    every = [differences.min() - 1, differences.max() + 1, *differences, *(differences + 1e-9)]
    highest = max(mean(found, value, *scores) for value in every)
    assert mean(found, span_decoding.threshold(found, *scores), *scores) == pytest.approx(highest, abs=1e-12)


def test_all_or_none_are_answered_if_that_is_best() -> None:
    found = span_decoding.best(draw(3), 30)
    ones, zeros = np.ones(40), np.zeros(40)
    assert (
        span_decoding.answered(found, span_decoding.threshold(found, ones, zeros)).sum()
        == (found.first > 0).sum()
    )
    assert not span_decoding.answered(found, span_decoding.threshold(found, zeros, ones)).any()
    # A row whose context has no word that is read has no answer, whatever the threshold.
    assert not span_decoding.answered(found, np.inf)[found.first == 0].any()
