"""The head of class means is the nearest class mean, as a linear function of features."""

import numpy as np
import pytest

from baton.train import prototypes

DRAW = np.random.default_rng(0)


def features(rows: int = 60, width: int = 5, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    labels = np.arange(rows) % classes
    return (DRAW.normal(size=(rows, width)) + 100 + labels[:, None]).astype(np.float32), labels


def test_logits_are_negative_squared_distances_to_the_means() -> None:
    read, labels = features()
    made = prototypes.fit(read, labels, 3)
    means = np.stack([read[labels == label].mean(axis=0) for label in range(3)]).astype(np.float64)
    rows = read.astype(np.float64)
    distances = ((rows[:, None] - means) ** 2).sum(axis=2)
    within = ((rows - means[labels]) ** 2).mean() * 60 / 57
    expected = -distances / (2 * within)
    got = made.logits(read).astype(np.float64)
    assert np.abs(_centred(got) - _centred(expected)).max() < 1e-2
    assert (got.argmax(axis=1) == distances.argmin(axis=1)).all()


def _centred(logits: np.ndarray) -> np.ndarray:
    return logits - logits.mean(axis=1, keepdims=True)


def test_a_class_without_rows_is_never_predicted() -> None:
    read, labels = features()
    made = prototypes.fit(read, labels, 5)
    far = np.concatenate([read, 50 * DRAW.normal(size=(200, 5)).astype(np.float32)])
    assert made.logits(far).argmax(axis=1).max() < 3


def test_one_row_of_each_class_is_enough() -> None:
    read, labels = features(rows=3)
    made = prototypes.fit(read, labels, 3)
    assert (made.logits(read).argmax(axis=1) == labels).all()


def test_a_row_of_weight_two_counts_twice() -> None:
    read, labels = features()
    twice = np.concatenate([np.arange(60), np.arange(20)])
    weights = np.where(np.arange(60) < 20, 2.0, 1.0).astype(np.float32)
    weighted, repeated = (
        prototypes.fit(read, labels, 3, weights),
        prototypes.fit(read[twice], labels[twice], 3),
    )
    scale = 60 / 57 * 77 / 80  # degrees of freedom are those of rows
    assert weighted.weight * scale == pytest.approx(repeated.weight, abs=1e-3)
