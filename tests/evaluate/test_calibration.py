"""Reliability and calibration error of classifiers whose calibration is known."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit, logit

from baton.evaluate import calibration
from baton.evaluate.calibration import reliability
from baton.tasks import metrics


def world(rows: int, sharpen: float) -> tuple[np.ndarray, np.ndarray]:
    """Return labels drawn from known probabilities, and log-probabilities to evaluate.

    These are the true ones, sharpened by `sharpen` (1 is honest).
    """
    generator = np.random.default_rng(0)
    log_p = metrics.log_probabilities(generator.normal(0, 2, (rows, 4)))
    labels = (np.exp(log_p).cumsum(axis=1) < generator.random((rows, 1))).sum(axis=1).clip(max=3)
    return labels, metrics.log_probabilities(sharpen * log_p)


def test_an_honest_classifier_is_calibrated() -> None:
    labels, log_p = world(40_000, 1)
    got = reliability(labels, log_p.argmax(1), log_p, 15)
    assert got.ece < 0.01
    filled = got.count > 300
    assert np.abs(got.accuracy - got.confidence)[filled] == pytest.approx(0, abs=0.06)


@pytest.mark.parametrize("sharpen", [2.5, 0.4])  # overconfident, underconfident
def test_a_dishonest_one_is_not(sharpen: float) -> None:
    labels, log_p = world(40_000, sharpen)
    got = reliability(labels, log_p.argmax(1), log_p, 15)
    assert got.ece > 0.1
    gap = got.accuracy - got.confidence
    assert (np.sign(np.nansum(gap * got.count)) < 0) == (sharpen > 1)


def test_error_is_the_ece_of_the_metrics() -> None:
    labels, log_p = world(500, 1.7)
    for bins in (1, 10, 15):
        got = reliability(labels, log_p.argmax(1), log_p, bins)
        assert got.ece == pytest.approx(metrics.scores(log_p, labels, bins)["ece"])
        assert got.count.sum() == 500
        assert len(got.edges) == bins + 1


def test_empty_bins_are_undefined() -> None:
    log_p = np.log([[0.95, 0.05], [0.55, 0.45]])
    got = reliability(np.array([0, 1]), np.array([0, 0]), log_p, 10)
    assert got.count.tolist() == [0] * 5 + [1, 0, 0, 0, 1]
    assert np.isnan(got.accuracy[:5]).all()
    assert got.accuracy[[5, 9]].tolist() == [0, 1]


Curve = Callable[[NDArray[np.float64]], NDArray[np.float64]]
# Confidences of a classifier, and how often it is right at each confidence.
SURE: dict[str, Callable[[np.random.Generator, int], NDArray[np.float64]]] = {
    "unsure": lambda generator, rows: 0.3 + 0.7 * generator.beta(4, 1.5, rows),
    "sure": lambda generator, rows: 1 - 0.7 * generator.beta(0.25, 4, rows),
    "certain": lambda generator, rows: expit(generator.normal(6, 2.5, rows)).clip(0.2),
}
RIGHT: dict[str, Curve] = {
    "calibrated": lambda sure: sure,
    "a little too sure": lambda sure: expit(0.85 * logit(sure)),
    "too sure": lambda sure: expit(0.6 * logit(sure) - 0.2),
    "not sure enough": lambda sure: expit(1.6 * logit(sure)),
    "nine of ten": lambda sure: np.full(len(sure), 0.9),
}
ROWS = (30, 100, 359, 2189)


def measured(sure: NDArray[np.float64], hits: NDArray[np.bool_], bins: int = 15) -> tuple[float, list[float]]:
    """Return the error of rows with two classes, the first of which is predicted with probability `sure`."""
    return calibration.error(
        (~hits).astype(int),
        np.zeros(len(hits), int),
        np.log(np.stack([sure, 1 - sure + 1e-300], axis=1)),
        bins,
        0.95,
    )


def simulate(
    world: str, curve: str, rows: int, repeats: int
) -> tuple[float, list[tuple[float, list[float]]], float]:
    """Return the true error of the bins, the measured errors of `repeats` test splits, and the mean ECE."""
    generator = np.random.default_rng(99)
    population = np.sort(SURE[world](generator, 400_000))
    parts = np.array_split(RIGHT[curve](population) - population, min(15, rows // 10))
    found, eces = [], []
    for _ in range(repeats):
        sure = SURE[world](generator, rows)
        hits = generator.random(rows) < RIGHT[curve](sure)
        found.append(measured(sure, hits))
        eces.append(
            reliability(
                1 - hits, np.zeros(rows, int), np.log(np.stack([sure, 1 - sure + 1e-300], axis=1)), 15
            ).ece
        )
    return float(np.mean([part.mean() ** 2 for part in parts])) ** 0.5, found, float(np.mean(eces))


@pytest.mark.parametrize("world", list(SURE))
def test_of_a_calibrated_classifier_it_is_nothing_and_the_old_figure_is_not(world: str) -> None:
    """The error is about 0 on 359 rows, the size of the digits' test split.

    The negative control is ECE: its mean over splits is far from the true 0.
    """
    true, found, ece = simulate(world, "calibrated", 359, 200)
    assert true == 0
    # Half of the squares are below 0 by chance and count as 0: the median is 0, and most intervals hold it.
    assert np.median([value for value, _ in found]) < 0.006
    assert np.mean([low > 0 for _, (low, _) in found]) <= 0.06
    assert ece > (0.01 if world == "certain" else 0.018)


@pytest.mark.slow
@pytest.mark.parametrize("world", list(SURE))
@pytest.mark.parametrize("curve", list(RIGHT))
def test_the_interval_holds_the_truth_as_often_as_it_says(world: str, curve: str) -> None:
    for rows in ROWS:
        true, found, _ = simulate(world, curve, rows, 400)
        covered = np.mean([low - 1e-9 <= true <= high + 1e-9 for _, (low, high) in found])
        said = f"{world}, {curve}, {rows} rows: the interval of {true:.4f} covers {covered:.3f}"
        assert covered >= 0.925, said  # 0.95 minus 2.3 standard deviations


@pytest.mark.parametrize("curve", ["too sure", "not sure enough"])
def test_the_square_is_unbiased(curve: str) -> None:
    """A population of two confidences makes the truth a closed form.

    Each confidence has half the rows and its own gap.
    """
    generator, rows = np.random.default_rng(1), 400
    values = np.array([0.6, 0.9])
    sure = np.repeat(values, rows // 2)
    share = RIGHT[curve](values)
    truth = ((share - values) ** 2).mean()
    drawn = [
        calibration._gaps(sure, generator.random(rows) < np.repeat(share, rows // 2), 2) for _ in range(2000)
    ]
    squares = np.array([(gaps - excess).sum() for gaps, excess, _ in drawn])
    assert squares.mean() == pytest.approx(truth, abs=4 * squares.std() / 2000**0.5)
    # Negative control: the plain squares are too large.
    biased = np.array([gaps.sum() for gaps, _, _ in drawn])
    assert biased.mean() > truth + 4 * biased.std() / 2000**0.5


def test_one_bin_is_a_closed_form() -> None:
    """20 rows at 0.8, 12 of them right, have a gap of 0.2.

    Hits have the unbiased variance 0.6 * 0.4 * 20 / 19, a twentieth of which is chance.
    """
    value, (low, high) = measured(np.full(20, 0.8), np.arange(20) < 12)
    assert value**2 == pytest.approx(0.2**2 - 0.6 * 0.4 / 19)
    assert low == 0
    assert 0.3 < high < 0.45
    many, (low, high) = measured(np.full(2000, 0.8), np.arange(2000) < 1200)
    assert many**2 == pytest.approx(0.2**2 - 0.6 * 0.4 / 1999)
    # Wilson's interval for 1200 of 2000, shifted by 0.8, is an independent interval for the same gap.
    assert [low, high] == pytest.approx([0.8 - 0.6213, 0.8 - 0.5784], abs=0.002)


def test_rows_of_one_confidence_stay_together_and_few_rows_say_so() -> None:
    value, (low, high) = measured(np.full(10, 1 - 1e-12), np.ones(10, bool))
    assert [value, low] == pytest.approx([0, 0], abs=1e-9)
    assert high > 0.2, "ten rows without a mistake do not prove a claim of certainty"
    assert measured(np.array([0.7]), np.array([True])) == (0, [0, 1])
    value, (low, high) = measured(np.full(300, 0.999), np.arange(300) < 150)
    assert 0.4 < low < value < high < 0.6
    assert value == pytest.approx(0.499, abs=0.01)


def test_the_interval_holds_the_figure() -> None:
    generator = np.random.default_rng(2)
    for rows in (12, 40, 300):
        for curve in RIGHT.values():
            sure = SURE["sure"](generator, rows)
            value, (low, high) = measured(sure, generator.random(rows) < curve(sure))
            assert 0 <= low <= value <= high <= 1 and high > 0
