"""Reliability of classifiers whose calibration is known."""

import numpy as np
import pytest

from baton.evaluate import metrics
from baton.evaluate.calibration import reliability


def world(rows: int, sharpen: float) -> tuple[np.ndarray, np.ndarray]:
    """Labels drawn from known probabilities, and log-probabilities that claim them sharpened by `sharpen` (1 is honest)."""
    generator = np.random.default_rng(0)
    log_p = metrics.log_probabilities(generator.normal(0, 2, (rows, 4)))
    labels = (np.exp(log_p).cumsum(axis=1) < generator.random((rows, 1))).sum(axis=1).clip(max=3)
    return labels, metrics.log_probabilities(sharpen * log_p)


def test_an_honest_classifier_is_calibrated() -> None:
    labels, log_p = world(40_000, 1)
    got = reliability(labels, log_p.argmax(1), log_p, 15)
    assert got.error < 0.01
    filled = got.count > 300
    assert np.abs(got.accuracy - got.confidence)[filled] == pytest.approx(0, abs=0.06)


@pytest.mark.parametrize("sharpen", [2.5, 0.4])  # claims too much, claims too little
def test_a_dishonest_one_is_not(sharpen: float) -> None:
    labels, log_p = world(40_000, sharpen)
    got = reliability(labels, log_p.argmax(1), log_p, 15)
    assert got.error > 0.1
    gap = got.accuracy - got.confidence
    assert (np.sign(np.nansum(gap * got.count)) < 0) == (sharpen > 1)


def test_error_is_the_ece_of_the_metrics() -> None:
    labels, log_p = world(500, 1.7)
    for bins in (1, 10, 15):
        got = reliability(labels, log_p.argmax(1), log_p, bins)
        assert got.error == pytest.approx(metrics.scores(log_p, labels, bins)["ece"])
        assert got.count.sum() == 500
        assert len(got.edges) == bins + 1


def test_empty_bins_are_undefined() -> None:
    log_p = np.log([[0.95, 0.05], [0.55, 0.45]])
    got = reliability(np.array([0, 1]), np.array([0, 0]), log_p, 10)
    assert got.count.tolist() == [0] * 5 + [1, 0, 0, 0, 1]
    assert np.isnan(got.accuracy[:5]).all()
    assert got.accuracy[[5, 9]].tolist() == [0, 1]
