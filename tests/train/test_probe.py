"""Test that a linear probe is scikit-learn's logistic regression, as the weights of a head."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from baton.batches import subset
from baton.train import probe


def drawn(classes: int, rows: int = 90, width: int = 6, noise: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(0)
    labels = np.arange(rows) % classes
    centres = draw.normal(size=(classes, width)) * 2
    return (centres[labels] + noise * draw.normal(size=(rows, width)) * [1, 5, 1, 0.1, 1, 1] + 3).astype(
        np.float32
    ), labels


@pytest.mark.parametrize("classes", [2, 3, 7])
@pytest.mark.parametrize("balanced", [False, True])
def test_its_probabilities_are_those_of_the_pipeline(classes: int, balanced: bool) -> None:
    features, labels = drawn(classes)
    labels[:10] = 0
    made = probe.fit(features, labels, classes, balanced, subset.folds(labels, np.arange(len(labels)), 3, 0))
    model = LogisticRegression(C=made.strength, max_iter=5000, class_weight="balanced" if balanced else None)
    expected = make_pipeline(StandardScaler(), model).fit(features, labels).predict_log_proba(features)
    logits = made.logits(features).astype(np.float64)
    found = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(found, expected, atol=2e-3)


@pytest.mark.parametrize("classes", [2, 3])
def test_of_directions_is_logistic_regression_on_unit_vectors(classes: int) -> None:
    features, labels = drawn(classes)
    features /= np.linalg.norm(features, axis=1)[:, None] / 7  # all of the same length
    made = probe.of_directions(features, labels, classes, False)
    expected = LogisticRegression().fit(features / 7, labels).predict_log_proba(features / 7)
    logits = made.logits(features).astype(np.float64)
    found = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(found, expected, atol=1e-3)
    lengths = np.random.default_rng(0).uniform(0.9, 1.1, len(features)).astype(np.float32)[:, None]
    other = probe.of_directions(features * lengths, labels, classes, False)
    assert other.weight == pytest.approx(made.weight, rel=0.02, abs=1e-4), "lengths do not count in fitting"


def test_a_class_without_a_row_is_never_predicted_and_a_constant_feature_does_no_harm() -> None:
    features, labels = drawn(3)
    features[:, 2] = 4.0
    made = probe.fit(
        features,
        np.where(labels == 2, 3, labels),
        5,
        False,
        subset.folds(labels, np.arange(len(labels)), 3, 0),
    )
    predicted = made.logits(features).argmax(axis=1)
    assert np.isfinite(made.weight).all()
    assert set(predicted) == {0, 1, 3}


def test_a_row_of_weight_two_counts_as_two_rows() -> None:
    features, labels = drawn(3, rows=40)
    twice = np.repeat([1.0, 2.0], 20).astype(np.float32)
    repeated = np.concatenate([np.arange(40), np.arange(20, 40)])
    weighted = probe.fit(features, labels, 3, False, [], twice)
    mean, scale = features.mean(axis=0), features.std(axis=0)
    model = LogisticRegression(C=weighted.strength, max_iter=5000).fit(
        ((features - mean) / scale)[repeated], labels[repeated]
    )
    expected = model.decision_function((features - mean) / scale)
    np.testing.assert_allclose(weighted.logits(features), expected, atol=5e-3)


def test_noise_asks_for_more_regularisation_than_none() -> None:
    clean, labels = drawn(3, noise=0.1)
    noisy, _ = drawn(3, noise=6.0)
    cuts = subset.folds(labels, np.arange(len(labels)), 5, 0)
    assert (
        probe.fit(noisy, labels, 3, False, cuts).strength < probe.fit(clean, labels, 3, False, cuts).strength
    )


@pytest.mark.parametrize("count", [2, 3, 5])
def test_folds_are_a_stratified_partition(count: int) -> None:
    labels = np.repeat([0, 1, 2, 3], [23, 11, 2, 40])
    cuts = subset.folds(labels, np.arange(len(labels)), count, seed=3)
    assert sorted(np.concatenate([scored for _, scored in cuts])) == list(range(len(labels)))
    for fitted, scored in cuts:
        assert sorted([*fitted, *scored]) == list(range(len(labels)))
        assert len(scored) in {len(labels) // count, -(-len(labels) // count)}
        for label, rows in zip(*np.unique(labels, return_counts=True), strict=True):
            assert abs((labels[scored] == label).sum() - rows / count) < 1
    again = subset.folds(labels, np.arange(len(labels)), count, seed=3)
    assert all((a[1] == b[1]).all() for a, b in zip(cuts, again, strict=True))
    assert any(
        (a[1] != b[1]).any()
        for a, b in zip(cuts, subset.folds(labels, np.arange(len(labels)), count, seed=4), strict=True)
        if len(a[1]) == len(b[1])
    )


@pytest.mark.parametrize("count", [2, 3, 5])
def test_folds_part_no_unit_and_stay_stratified(count: int) -> None:
    draw = np.random.default_rng(count)
    units = draw.permutation(np.repeat(np.arange(60), draw.integers(1, 4, 60)) * 7)
    labels = units // 7 % 3
    cuts = subset.folds(labels, units, count, seed=0)
    assert sorted(np.concatenate([scored for _, scored in cuts])) == list(range(len(labels)))
    assert all(not set(units[fitted]) & set(units[scored]) for fitted, scored in cuts)
    for label in range(3):
        sizes = [(labels[scored] == label).sum() for _, scored in cuts]
        assert max(sizes) - min(sizes) <= 3  # rows of the largest unit
    alone = subset.folds(labels, np.arange(len(labels)), count, seed=0)
    assert any(set(units[fitted]) & set(units[scored]) for fitted, scored in alone)  # the control


def test_fewer_units_than_folds_make_fewer_folds() -> None:
    cuts = subset.folds(np.array([0, 0, 1, 1, 1]), np.array([5, 5, 2, 2, 2]), 3, seed=0)
    assert sorted(scored.tolist() for _, scored in cuts) == [[0, 1], [2, 3, 4]]
