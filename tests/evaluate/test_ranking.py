"""AUROC and average precision against scikit-learn; the interval covers and does not collapse."""

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import average_precision_score, roc_auc_score

from baton.evaluate import ranking
from baton.tasks import metrics


def sample(rows: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, rows)
    logits = generator.normal(size=(rows, classes)).round(1)  # creates ties
    logits[np.arange(rows), labels] += 1
    return labels, metrics.log_probabilities(logits)


def test_as_scikit_learn() -> None:
    labels, log_p = sample(300, 2)
    got = ranking.figures(labels, log_p, 0.95)
    assert got["auroc"] == pytest.approx(roc_auc_score(labels, log_p[:, 1]))
    assert got["average_precision"] == pytest.approx(average_precision_score(labels, log_p[:, 1]))
    labels, log_p = sample(300, 5)
    got = ranking.figures(labels, log_p, 0.95)
    assert got["auroc"] == pytest.approx(roc_auc_score(labels, np.exp(log_p), multi_class="ovr"))
    assert got["average_precision"] == pytest.approx(
        average_precision_score(np.eye(5)[labels], log_p, average="macro")
    )
    low, high = got["auroc_interval"]  # type: ignore[misc]
    assert low < got["auroc"] < high


def test_classes_without_rows_do_not_count() -> None:
    labels, log_p = sample(200, 4)
    labels[labels == 3] = 0
    expected = np.mean([roc_auc_score(labels == k, log_p[:, k]) for k in range(3)])
    assert ranking.figures(labels, log_p, 0.95)["auroc"] == pytest.approx(expected)
    assert ranking.figures(np.zeros(200, int), log_p, 0.95) == {}


def test_ends_solve_the_equation_and_a_perfect_order_is_no_certainty() -> None:
    for area in (0.1, 0.5, 0.97):
        for end in ranking.area_interval(area, 12, 40, 0.95):
            spread = end * (1 - end) * (1 + 25 * ((1 - end) / (2 - end) + end / (1 + end))) / (12 * 40)
            assert abs(area - end) == pytest.approx(norm.ppf(0.975) * spread**0.5, rel=1e-6)
    low, high = ranking.area_interval(1.0, 3, 40, 0.95)
    assert (low < 0.75, high) == (True, 1.0)
    assert ranking.area_interval(0.0, 3, 40, 0.95) == pytest.approx((0.0, 1 - low), abs=0.05)


def test_the_interval_covers() -> None:
    """With two normal distributions the true area is known; 20 rows against 60."""
    generator, inside = np.random.default_rng(0), 0
    truth = float(norm.cdf(2 / 2**0.5))
    for _ in range(300):
        scores = np.concatenate([generator.normal(2, 1, 20), generator.normal(0, 1, 60)])
        labels = np.repeat([1, 0], [20, 60])
        low, high = ranking.area_interval(float(roc_auc_score(labels, scores)), 20, 60, 0.95)
        inside += low <= truth <= high
    assert 0.92 <= inside / 300 <= 0.99
