"""Intervals cover what they promise, differences are paired, McNemar is McNemar's."""

import time

import numpy as np
import pytest
from scipy.stats import binom, norm

from baton import params
from baton.evaluate import compare, metrics


def settings(resamples: int = 1000, seed: int = 0, confidence: float = 0.95) -> params.Bootstrap:
    return params.Bootstrap(resamples=resamples, confidence=confidence, seed=seed)


def statistics(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    return metrics.statistics(labels, predicted, classes, None, 15)


def test_sums_are_those_of_drawn_rows() -> None:
    rows = np.eye(7)
    sums = compare.resample(rows, 50, 0)
    assert (sums.sum(axis=1) == 7).all()
    assert (sums == sums.round()).all()
    assert len(np.unique(sums, axis=0)) > 40
    drawn = np.random.default_rng(0).integers(0, 7, (50, 7))  # the same draws, counted one by one
    assert (sums == [[(row == k).sum() for k in range(7)] for row in drawn]).all()


def test_blocks_do_not_lose_or_repeat_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "DRAWS_AT_ONCE", 30)
    sums = compare.resample(np.eye(10), 8, 0)
    assert (sums.sum(axis=1) == 10).all()
    assert len(np.unique(sums, axis=0)) == 8


def test_accuracy_interval_is_the_known_one() -> None:
    """For a share p of n rows the interval is close to the normal approximation; another confidence gives another width."""
    rows, right = 4000, 3200
    labels = np.zeros(rows, int)
    predicted = np.where(np.arange(rows) < right, 0, 1)
    for confidence in (0.95, 0.5):
        boot = compare.Bootstrap({"m": statistics(labels, predicted, 2)}, 2, settings(4000, confidence=confidence))
        half = norm.ppf((1 + confidence) / 2) * np.sqrt(0.8 * 0.2 / rows)
        assert boot.figures("m")["accuracy_interval"] == pytest.approx(
            [0.8 - half, 0.8 + half], abs=0.1 * half + 1 / rows
        )  # a row is the grid


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    """200 samples from a known world, 90% intervals: the true accuracy and macro F1 lie inside in about 180."""
    generator = np.random.default_rng(3)
    world = np.array([[0.45, 0.05], [0.1, 0.4]])  # joint probabilities (actual, predicted)
    true_f1 = np.mean([2 * 0.45 / (0.5 + 0.55), 2 * 0.4 / (0.5 + 0.45)])
    inside = np.zeros(2)
    for trial in range(200):
        cells = generator.choice(4, 300, p=world.ravel())
        boot = compare.Bootstrap({"m": statistics(cells // 2, cells % 2, 2)}, 2, settings(400, trial, 0.9))
        figures = boot.figures("m")
        for index, (name, truth) in enumerate((("accuracy", 0.85), ("macro_f1", true_f1))):
            low, high = figures[f"{name}_interval"]  # type: ignore[misc]
            inside[index] += low <= truth <= high
    low, high = binom.ppf([0.001, 0.999], 200, 0.9)
    assert ((low <= inside) & (inside <= high)).all(), inside


def two_models() -> tuple[np.ndarray, dict[str, np.ndarray]]:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 3, 900)
    base = np.where(generator.random(900) < 0.8, labels, (labels + 1) % 3)
    better = np.where(generator.random(900) < 0.3, labels, base)  # the same answers, some mistakes mended
    return labels, {"first": better, "second": base}


def test_differences_are_paired() -> None:
    """Models that err on the same rows differ more certainly than the same accuracies on shuffled rows."""
    labels, predicted = two_models()
    boot = compare.Bootstrap({name: statistics(labels, value, 3) for name, value in predicted.items()}, 3, settings())
    value, (low, high) = boot.difference("first", "second", "accuracy")
    assert value == pytest.approx((predicted["first"] == labels).mean() - (predicted["second"] == labels).mean())
    assert low < value < high
    assert low > 0
    order = np.random.default_rng(5).permutation(900)
    loose = {"first": statistics(labels, predicted["first"], 3), "second": statistics(labels[order], predicted["second"][order], 3)}
    _, (loose_low, loose_high) = compare.Bootstrap(loose, 3, settings()).difference("first", "second", "accuracy")
    assert loose_high - loose_low > 1.5 * (high - low)
    assert boot.difference("first", "first", "macro_f1") == (0.0, [0.0, 0.0])
    assert boot.ratio("first", "first", "accuracy") == (1.0, [1.0, 1.0])


def test_ratio_with_nothing_has_no_value() -> None:
    labels = np.array([0, 1, 0, 1])
    boot = compare.Bootstrap({"wrong": statistics(labels, 1 - labels, 2), "right": statistics(labels, labels, 2)}, 2, settings(50))
    assert boot.ratio("right", "wrong", "accuracy") is None
    assert boot.ratio("wrong", "right", "accuracy") == (0.0, [0.0, 0.0])


def test_same_seed_same_figures() -> None:
    labels, predicted = two_models()
    figures = [
        compare.Bootstrap({"m": statistics(labels, predicted["first"], 3)}, 3, settings(seed=seed)).figures("m") for seed in (0, 0, 1)
    ]
    assert figures[0] == figures[1]
    assert figures[0] != figures[2]


def test_undefined_per_class_figures_are_nan() -> None:
    labels, predicted = np.array([0, 0, 0, 1, 1]), np.array([0, 0, 1, 0, 1])
    boot = compare.Bootstrap({"m": statistics(labels, predicted, 4)}, 4, settings(200))  # classes 2 and 3 never occur
    got = boot.per_class("m")
    assert got["support"][0].tolist() == [3, 2, 0, 0]
    assert got["precision"][0][:2] == pytest.approx([2 / 3, 1 / 2])
    assert got["recall"][0][:2] == pytest.approx([2 / 3, 1 / 2])
    assert got["f1"][0][:2] == pytest.approx([2 / 3, 1 / 2])
    for figure in ("precision", "recall", "f1"):
        values, bounds = got[figure]
        assert np.isnan(values[2:]).all()
        assert np.isnan(bounds[:, 2:]).all()
        assert (bounds[0, :2] <= values[:2]).all()
        assert (values[:2] <= bounds[1, :2]).all()


@pytest.mark.parametrize(
    ("first", "second", "p_value"),
    [
        (0, 0, 1.0),
        (6, 6, 1.0),
        (5, 0, 2 * 0.5**5),
        (1, 9, 2 * (1 + 10) * 0.5**10),  # by hand: both tails of a fair coin tossed ten times
    ],
)
def test_mcnemar_by_hand(first: int, second: int, p_value: float) -> None:
    hits = np.array([[True, True]] * 20 + [[False, False]] * 3 + [[True, False]] * first + [[False, True]] * second)
    assert compare.mcnemar(hits[:, 0], hits[:, 1]) == (first, second, pytest.approx(p_value))


def test_mcnemar_rejects_as_often_as_it_says() -> None:
    """Equal models: at most 5% (exact tests keep below); a better model is found."""
    generator = np.random.default_rng(0)
    hits = generator.random((400, 200, 2)) < 0.8
    p_values = np.array([compare.mcnemar(one[:, 0], one[:, 1])[2] for one in hits])
    assert 0.01 < (p_values < 0.05).mean() < 0.07
    assert compare.mcnemar(np.ones(200, bool), hits[0, :, 1])[2] < 1e-6


def test_large_problems_take_seconds() -> None:
    """2000 resamples of 7528 rows and 20 classes for six models."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 20, 7528)
    log_p = metrics.log_probabilities(generator.normal(size=(7528, 20)))
    rows = metrics.statistics(labels, log_p.argmax(1), 20, log_p, 15)
    start = time.process_time()
    compare.Bootstrap({str(k): rows for k in range(6)}, 20, settings(2000))
    assert time.process_time() - start < 20  # processor seconds: about 2 on an idle machine


def test_top5_has_an_interval_too() -> None:
    generator = np.random.default_rng(0)
    labels, log_p = generator.integers(0, 12, 400), np.log(generator.dirichlet(np.ones(12), 400))
    figures = compare.Bootstrap({"m": metrics.statistics(labels, log_p.argmax(1), 12, log_p, 15)}, 12, settings()).figures("m")
    low, high = figures["top5_accuracy_interval"]  # type: ignore[misc]
    assert low < figures["top5_accuracy"] < high
    assert high - low == pytest.approx(2 * norm.ppf(0.975) * np.sqrt(5 / 12 * 7 / 12 / 400), rel=0.15)
