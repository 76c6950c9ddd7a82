"""The head of class means is the nearest class mean, as a linear function of features."""

import numpy as np
import pytest

from baton.train import prototypes

DRAW = np.random.default_rng(0)


def features(rows: int = 60, width: int = 5, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    labels = np.arange(rows) % classes
    return (DRAW.normal(size=(rows, width)) + 100 + labels[:, None]).astype(np.float32), labels


def test_logits_are_cosines_with_the_means_of_directions() -> None:
    read, labels = features()
    made = prototypes.fit(read, labels, 3)
    rows = read.astype(np.float64)
    centre = np.mean([rows[labels == label].mean(axis=0) for label in range(3)], axis=0)
    directions = (rows - centre) / np.linalg.norm(rows - centre, axis=1)[:, None]
    means = np.stack([directions[labels == label].mean(axis=0) for label in range(3)])
    cosines = directions @ (means / np.linalg.norm(means, axis=1)[:, None]).T
    got = made.logits(read).astype(np.float64)
    assert (got.argmax(axis=1) == cosines.argmax(axis=1)).all()
    ratios = got / (cosines * np.linalg.norm(rows - centre, axis=1)[:, None])
    assert np.ptp(ratios) / ratios.mean() < 1e-2, "the same concentration for all"


def test_the_concentration_is_that_of_the_distribution() -> None:
    """Directions of normal vectors around a mean are nearly a von Mises-Fisher distribution."""
    width, kappa, rows = 400, 300.0, 3000
    centres = DRAW.normal(size=(2, width))
    labels = np.arange(rows) % 2
    # Of a normal distribution with variance 1 / kappa around a mean of length 1, given its length.
    unit = centres / np.linalg.norm(centres, axis=1)[:, None]
    read = unit[labels] + DRAW.normal(size=(rows, width)) / np.sqrt(kappa)
    few, many = (prototypes.fit(read[:count].astype(np.float32), labels[:count], 2) for count in (16, rows))
    lengths = [np.linalg.norm(own.weight, axis=1).mean() for own in (few, many)]
    assert lengths[0] == pytest.approx(lengths[1], rel=0.35), "few rows do not make it surer"
    answers = np.exp(many.logits(read.astype(np.float32)).astype(np.float64))
    sure = answers[np.arange(rows), labels] / answers.sum(axis=1)
    assert sure.mean() == pytest.approx((answers.argmax(axis=1) == labels).mean(), abs=0.05), "calibrated"


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
    # The concentration differs a little: a row that counts twice is still one row.
    shares = [own.weight / np.linalg.norm(own.weight) for own in (weighted, repeated)]
    assert shares[0] == pytest.approx(shares[1], abs=1e-5)
    unweighted = prototypes.fit(read, labels, 3).weight
    assert np.abs(unweighted / np.linalg.norm(unweighted) - shares[0]).max() > 1e-3
