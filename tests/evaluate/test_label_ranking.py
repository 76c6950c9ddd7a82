"""Average precision of several labels: scikit-learn's values, derivatives, coverage of the intervals."""

import numpy as np
import pytest
from scipy.stats import binom
from sklearn.metrics import average_precision_score

from baton.evaluate import label_ranking


def table(rows: int, seed: int, shares: tuple[float, ...] = (0.5, 0.3, 0.1), by: float = 1.0) -> tuple:
    """Return scores and targets; the decisions of a row depend on each other."""
    generator = np.random.default_rng(seed)
    targets = generator.random((rows, len(shares))) < shares
    hard = generator.normal(0, 1, (rows, 1))
    return hard + generator.normal(0, 1, targets.shape) + by * (2 * targets - 1), targets


@pytest.mark.parametrize("digits", [0, 1, 12], ids=["many ties", "some ties", "none"])
@pytest.mark.parametrize("seed", range(3))
def test_values_are_those_of_scikit_learn(digits: int, seed: int) -> None:
    scores, targets = table(120, seed, (0.5, 0.3, 0.05, 0.0))
    scores = scores.round(digits)
    found = label_ranking.figures(scores, targets.astype(np.float32), 0.95)
    expected = average_precision_score(targets, scores, average="micro")
    assert found["micro_average_precision"] == pytest.approx(expected, abs=1e-9)
    expected = average_precision_score(targets[:, :3], scores[:, :3], average="macro")
    assert found["macro_average_precision"] == pytest.approx(expected, abs=1e-9)
    assert found["labels_without_rows"] == 1
    for kind in ("micro", "macro"):
        low, high = found[f"{kind}_average_precision_interval"]
        assert 0 <= low < found[f"{kind}_average_precision"] < high <= 1


@pytest.mark.parametrize("digits", [0, 12])
def test_derivatives_are_those_of_scikit_learns_weights(digits: int) -> None:
    scores, targets = table(40, 5)
    scores = scores.round(digits)
    micro, label = label_ranking.micro(scores, targets), label_ranking.per_label(scores, targets)[1]
    assert label is not None
    assert micro.derivative.sum() == pytest.approx(0, abs=1e-12)
    for row in range(0, 40, 3):
        values = []
        for step in (-1e-5, 1e-5):
            weights = np.ones(40)
            weights[row] += step
            of_all = average_precision_score(targets.ravel(), scores.ravel(), sample_weight=weights.repeat(3))
            one = average_precision_score(targets[:, 1], scores[:, 1], sample_weight=weights)
            values.append([of_all, one])
        slopes = (np.array(values[1]) - values[0]) / 2e-5
        assert [micro.derivative[row], label.derivative[row]] == pytest.approx(slopes, abs=1e-7)


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    """300 tables of 100 rows; the truth is that of 200,000 rows."""
    scores, targets = table(200_000, 0)
    truth = label_ranking.figures(scores, targets, 0.95)
    inside = {"micro": 0, "macro": 0}
    for trial in range(300):
        found = label_ranking.figures(*table(100, 1 + trial), 0.95)
        for kind in inside:
            low, high = found[f"{kind}_average_precision_interval"]
            inside[kind] += low <= truth[f"{kind}_average_precision"] <= high
    assert min(inside.values()) >= binom.ppf(0.001, 300, 0.95), inside


def test_a_perfect_order_proves_no_perfect_model() -> None:
    targets = table(30, 0)[1]
    found = label_ranking.figures(targets.astype(float), targets, 0.95)
    for kind in ("micro", "macro"):
        assert found[f"{kind}_average_precision"] == 1
        low, high = found[f"{kind}_average_precision_interval"]
        assert low < 0.95 and high == pytest.approx(1)


def test_without_a_label_there_is_no_average_precision() -> None:
    found = label_ranking.figures(np.zeros((4, 3)), np.zeros((4, 3)), 0.95)
    assert found == {"labels_without_rows": 3}
