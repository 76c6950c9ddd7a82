"""A probe for several labels is scikit-learn's logistic regression of each, as the weights of a head."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from baton.batches import subset
from baton.train import label_probe
from baton.train.probe import STRENGTHS


def drawn(rows: int = 120, labels: int = 4, width: int = 6, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    features = draw.normal(size=(rows, width)) * [1, 5, 1, 0.1, 1, 1] + 3
    logits = ((features - 3) / [1, 5, 1, 0.1, 1, 1]) @ draw.normal(size=(width, labels)) * 1.5 - 1
    targets = draw.random((rows, labels)) < 1 / (1 + np.exp(-logits))
    return features.astype(np.float32), targets.astype(np.float32)


def cuts(targets: np.ndarray) -> list[subset.Fold]:
    return subset.folds(targets, np.arange(len(targets)), 3, 0)


@pytest.mark.parametrize("balanced", [False, True])
def test_its_logits_are_those_of_one_regression_per_label(balanced: bool) -> None:
    features, targets = drawn()
    made = label_probe.fit(features, targets, balanced, cuts(targets))
    scaled = StandardScaler().fit_transform(features.astype(np.float64))
    for place in range(4):
        own = targets[:, place]
        ratio = (len(own) - own.sum()) / own.sum() if balanced else 1.0
        model = LogisticRegression(C=made.strength, max_iter=5000, tol=1e-8)
        model.fit(scaled, own, np.where(own > 0, ratio, 1.0))
        expected = model.decision_function(scaled) - np.log(ratio)
        np.testing.assert_allclose(made.logits(features)[:, place], expected, atol=5e-3)


def test_balanced_rows_leave_the_mean_probability_near_the_share() -> None:
    """The share of a label of 10% in 4,000 rows; without the correction half of the rows would have it."""
    draw = np.random.default_rng(1)
    features = draw.normal(size=(4000, 3)).astype(np.float32)
    targets = (draw.random((4000, 1)) < 0.1).astype(np.float32)
    made = label_probe.fit(features, targets, True, [])
    p = 1 / (1 + np.exp(-made.logits(features).astype(np.float64)))
    assert p.mean() == pytest.approx(targets.mean(), abs=0.01)


def test_labels_of_no_row_and_of_every_row_are_constant() -> None:
    features, targets = drawn()
    targets[:, 1], targets[:, 2] = 0, 1
    made = label_probe.fit(features, targets, False, cuts(targets))
    logits = made.logits(features)
    assert np.ptp(logits[:, 1]) == np.ptp(logits[:, 2]) == 0
    assert logits[0, 1] == pytest.approx(np.log(0.5 / 120.5), rel=1e-5)
    assert logits[0, 2] == pytest.approx(-np.log(0.5 / 120.5), rel=1e-5)


def test_the_strength_is_that_of_the_least_log_loss_over_the_cuts() -> None:
    features, targets = drawn(60, seed=3)
    targets[:, 0] = np.random.default_rng(0).integers(0, 2, 60)
    folds, losses = cuts(targets), dict.fromkeys(STRENGTHS, 0.0)
    for fitted, scored in folds:
        for strength in STRENGTHS:
            made = label_probe._fit(features[fitted], targets[fitted], False, strength, None)
            p = 1 / (1 + np.exp(-made.logits(features[scored]).astype(np.float64)))
            losses[strength] -= float(np.log(np.where(targets[scored] > 0, p, 1 - p)).sum())
    assert label_probe.fit(features, targets, False, folds).strength == min(losses, key=losses.__getitem__)


def test_a_row_of_weight_two_counts_as_two_rows() -> None:
    features, targets = drawn(40)
    twice = np.repeat([1.0, 2.0], 20).astype(np.float32)
    scaled = StandardScaler().fit_transform(features.astype(np.float64))
    made = label_probe.fit(features, targets, False, [], twice)
    for place in range(4):
        model = LogisticRegression(C=made.strength, max_iter=5000, tol=1e-8).fit(
            scaled, targets[:, place], twice
        )
        expected = model.decision_function(scaled)
        np.testing.assert_allclose(made.logits(features)[:, place], expected, atol=5e-3)


def test_folds_of_rows_with_labels_spread_each_label() -> None:
    """Nine rows of a rare label, three in each fold; rows without labels are spread too."""
    targets = np.zeros((90, 3), np.float32)
    targets[:60, 0], targets[:9, 2], targets[30:45, 1] = 1, 1, 1
    for _, scored in subset.folds(targets, np.arange(90), 3, 0):
        assert targets[scored].sum(axis=0).tolist() == [20, 5, 3]
        assert (targets[scored].sum(axis=1) == 0).sum() == 10
