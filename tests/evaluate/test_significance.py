"""Intervals have their nominal coverage, differences are paired, and intervals and tests agree."""

import time
import tracemalloc

import numpy as np
import pytest
from scipy.stats import binom, norm

from baton import params
from baton.evaluate import proportions, resampling, significance
from baton.tasks import metrics


def settings(resamples: int = 1000, seed: int = 0, confidence: float = 0.95) -> params.Bootstrap:
    return params.Bootstrap(resamples=resamples, confidence=confidence, seed=seed)


def statistics(labels: np.ndarray, predicted: np.ndarray, classes: int) -> metrics.Statistics:
    return metrics.statistics(labels, predicted, classes, None, 15)


def resample(rows: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    return np.concatenate(
        [drawn @ rows for _, drawn in resampling.draws(len(rows), resamples, seed, rows.shape[1])]
    )


def test_sums_are_those_of_drawn_rows() -> None:
    rows = np.eye(7)
    sums = resample(rows, 50, 0)
    assert (sums.sum(axis=1) == 7).all()
    assert (sums == sums.round()).all()
    assert len(np.unique(sums, axis=0)) > 40
    drawn = np.random.default_rng(0).integers(0, 7, (50, 7))  # the same draws, counted one by one
    assert (sums == [[(row == k).sum() for k in range(7)] for row in drawn]).all()


def test_blocks_do_not_lose_or_repeat_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resampling, "DRAWS_AT_ONCE", 30)
    sums = resample(np.eye(10), 8, 0)
    assert (sums.sum(axis=1) == 10).all()
    assert len(np.unique(sums, axis=0)) == 8
    monkeypatch.undo()
    assert (sums == resample(np.eye(10), 8, 0)).all()


def test_shares_have_wilsons_interval() -> None:
    """With three of 359 rows wrong, the percentile bootstrap gave 98.1 to 100.0."""
    labels = np.arange(359) % 2
    predicted = np.where(np.arange(359) < 3, 1 - labels, labels)
    boot = significance.Bootstrap({"m": statistics(labels, predicted, 2)}, 2, settings())
    assert boot.figures("m")["accuracy_interval"] == pytest.approx(
        np.ravel(proportions.wilson(356, 359, 0.95))
    )
    assert resampling.interval(boot.drawn["m"]["accuracy"], 0.95)[1] == 1  # negative control
    hit, chosen, actual = (
        ((labels == 0) & (predicted == 0)).sum(),
        (predicted == 0).sum(),
        (labels == 0).sum(),
    )
    assert boot.per_class("m")["recall"][1][:, 0] == pytest.approx(
        np.ravel(proportions.wilson(hit, actual, 0.95))
    )
    assert boot.per_class("m")["precision"][1][:, 0] == pytest.approx(
        np.ravel(proportions.wilson(hit, chosen, 0.95))
    )


def test_no_interval_collapses_where_all_is_right() -> None:
    labels = np.arange(12) % 3
    own = statistics(labels, labels, 3)
    boot = significance.Bootstrap({"one": own, "other": own}, 3, settings(200))
    figures = boot.figures("one")
    for figure in ("accuracy", "macro_f1", "weighted_f1", "balanced_accuracy", "mcc"):
        low, high = figures[f"{figure}_interval"]  # type: ignore[misc]
        assert low < 0.85 < high == 1, figure
        if figure != "accuracy":
            # Negative control: the bootstrap alone.
            assert resampling.interval(boot.drawn["one"][figure], 0.95) == [1, 1]
    for figure in ("accuracy", "macro_f1"):
        for value, (low, high) in (
            boot.difference("one", "other", figure),
            boot.ratio("one", "other", figure) or (0.0, [0, 0]),
        ):
            assert low < value - 0.2
            assert high > value + 0.2
    assert (boot.per_class("one")["f1"][1][0] < 0.7).all()


@pytest.mark.parametrize(("rows", "share", "least"), [(300, 0.85, 0.92), (30, 0.95, 0.94), (30, 0.99, 0.96)])
def test_intervals_cover_the_truth_as_often_as_they_say(rows: int, share: float, least: float) -> None:
    """200 samples are drawn from a known distribution of three classes.

    At 30 rows and 99% the bootstrap alone covers in a quarter of cases (negative control).
    """
    generator = np.random.default_rng(3)
    # Probabilities by actual (rows) and predicted (columns) class.
    world = (np.eye(3) * share + (1 - np.eye(3)) * (1 - share) / 2) * np.array([[0.5], [0.3], [0.2]])
    sums = np.concatenate([world.diagonal(), world.sum(axis=0), world.sum(axis=1)])
    truth, wanted = metrics.figures(sums, 3), ("macro_f1", "weighted_f1", "balanced_accuracy", "mcc")
    inside, alone = np.zeros(4), np.zeros(4)
    for trial in range(200):
        cells = generator.choice(9, rows, p=world.ravel())
        boot = significance.Bootstrap({"m": statistics(cells // 3, cells % 3, 3)}, 3, settings(300, trial))
        figures = boot.figures("m")
        for index, name in enumerate(wanted):
            for count, (low, high) in (
                (inside, figures[f"{name}_interval"]),
                (alone, resampling.interval(boot.drawn["m"][name], 0.95)),
            ):  # type: ignore[misc]
                count[index] += low <= truth[name] <= high
    assert (inside / 200 >= least).all(), inside
    assert ((alone / 200 < 0.3) == (share == 0.99)).all(), alone


def two_models() -> tuple[np.ndarray, dict[str, np.ndarray]]:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 3, 900)
    base = np.where(generator.random(900) < 0.8, labels, (labels + 1) % 3)
    better = np.where(
        generator.random(900) < 0.3, labels, base
    )  # the same answers with some mistakes corrected
    return labels, {"first": better, "second": base}


def test_differences_are_paired() -> None:
    """Models that err on the same rows have narrower intervals than equal accuracies on shuffled rows."""
    labels, predicted = two_models()
    boot = significance.Bootstrap(
        {name: statistics(labels, value, 3) for name, value in predicted.items()}, 3, settings()
    )
    value, (low, high) = boot.difference("first", "second", "accuracy")
    assert value == pytest.approx(
        (predicted["first"] == labels).mean() - (predicted["second"] == labels).mean()
    )
    assert low < value < high
    assert low > 0
    order = np.random.default_rng(5).permutation(900)
    loose = {
        "first": statistics(labels, predicted["first"], 3),
        "second": statistics(labels[order], predicted["second"][order], 3),
    }
    _, (loose_low, loose_high) = significance.Bootstrap(loose, 3, settings()).difference(
        "first", "second", "accuracy"
    )
    assert loose_high - loose_low > 1.5 * (high - low)
    for figure, same in (("macro_f1", 0.0), ("accuracy", 0.0)):
        value, (low, high) = boot.difference("first", "first", figure)
        assert value == same
        assert -0.01 < low < same < high < 0.01


def test_ratio_with_nothing_has_no_value() -> None:
    labels = np.array([0, 1, 0, 1])
    boot = significance.Bootstrap(
        {"wrong": statistics(labels, 1 - labels, 2), "right": statistics(labels, labels, 2)}, 2, settings(50)
    )
    assert boot.ratio("right", "wrong", "accuracy") is None
    value, (low, high) = boot.ratio("wrong", "right", "accuracy") or (None, [1, 0])
    assert (value, low) == (0.0, 0.0)
    assert high == 1  # four rows are little evidence: p = 0.0625


def test_same_seed_same_figures() -> None:
    labels, predicted = two_models()
    figures = [
        significance.Bootstrap(
            {"m": statistics(labels, predicted["first"], 3)}, 3, settings(seed=seed)
        ).figures("m")
        for seed in (0, 0, 1)
    ]
    assert figures[0] == figures[1]
    assert figures[0] != figures[2]


def test_undefined_per_class_figures_are_nan() -> None:
    labels, predicted = np.array([0, 0, 0, 1, 1]), np.array([0, 0, 1, 0, 1])
    # Classes 2 and 3 never occur.
    boot = significance.Bootstrap({"m": statistics(labels, predicted, 4)}, 4, settings(200))
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


def test_a_comparison_reads_the_hits() -> None:
    """34 rows against 19 of 2189, where p = 0.053 once came with an interval of +0.04 to +1.32."""
    right = np.array(
        [[True, True]] * 2100 + [[False, False]] * 36 + [[True, False]] * 34 + [[False, True]] * 19
    )
    labels = np.arange(len(right)) % 2
    models = {name: np.where(right[:, k], labels, 1 - labels) for k, name in enumerate(("first", "second"))}
    boot = significance.Bootstrap(
        {name: statistics(labels, value, 2) for name, value in models.items()}, 2, settings(200)
    )
    got = significance.paired(boot, {name: boot.hits(name) for name in models}, "first", "second")
    assert got["discordant"] == [34, 19]
    assert got["accuracy_difference_interval"] == pytest.approx(
        proportions.paired_interval(34, 19, 2189, 0.95)
    )
    low, high = got["accuracy_difference_interval"]  # type: ignore[misc]
    assert (got["mcnemar_p"] < 0.05) == (not low <= 0 <= high)  # type: ignore[operator]
    assert got["mcnemar_p"] == pytest.approx(2 * (binom.cdf(19, 53, 0.5) - binom.pmf(19, 53, 0.5) / 2))
    assert boot.labels("first").tolist() == labels.tolist()


def test_many_rows_and_classes_need_little_memory() -> None:
    """50,000 rows, 1,000 classes and six models, for which dense statistics took about 7 GB, twice.

    Probabilities belong to the caller.
    """
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 1000, 50_000)
    log_p = np.broadcast_to(metrics.log_probabilities(generator.normal(size=(1, 1000))), (50_000, 1000))
    tracemalloc.start()
    try:
        rows = {}
        for name in "abcdef":
            predicted = np.where(generator.random(50_000) < 0.8, labels, generator.integers(0, 1000, 50_000))
            rows[name] = metrics.statistics(labels, predicted, 1000, log_p, 15)
        # More resamples are drawn in successive blocks.
        boot = significance.Bootstrap(rows, 1000, settings(60))
        for name in rows:
            assert len(boot.figures(name)) == 17  # ECE has no interval
            assert np.isfinite(boot.per_class(name)["f1"][0]).all()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 200e6


def test_large_problems_take_seconds() -> None:
    """2000 resamples of 7528 rows and 20 classes for six models."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 20, 7528)
    log_p = metrics.log_probabilities(generator.normal(size=(7528, 20)))
    rows = metrics.statistics(labels, log_p.argmax(1), 20, log_p, 15)
    start = time.process_time()
    significance.Bootstrap({str(k): rows for k in range(6)}, 20, settings(2000))
    assert time.process_time() - start < 20  # processor seconds: about 2 on an idle machine


def test_top5_has_an_interval_too() -> None:
    generator = np.random.default_rng(0)
    labels, log_p = generator.integers(0, 12, 400), np.log(generator.dirichlet(np.ones(12), 400))
    figures = significance.Bootstrap(
        {"m": metrics.statistics(labels, log_p.argmax(1), 12, log_p, 15)}, 12, settings()
    ).figures("m")
    low, high = figures["top5_accuracy_interval"]  # type: ignore[misc]
    assert low < figures["top5_accuracy"] < high
    assert high - low == pytest.approx(2 * norm.ppf(0.975) * np.sqrt(5 / 12 * 7 / 12 / 400), rel=0.15)
