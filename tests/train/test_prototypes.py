"""The head of class means is the nearest class mean, as a linear function of features."""

import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from baton.batches import subset
from baton.train import prototypes

DRAW = np.random.default_rng(0)


def features(rows: int = 60, width: int = 5, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    labels = np.arange(rows) % classes
    return (DRAW.normal(size=(rows, width)) + 100 + labels[:, None]).astype(np.float32), labels


def folds(labels: np.ndarray) -> list[subset.Fold]:
    return subset.folds(labels, np.arange(len(labels)), 5, 0)


def test_logits_are_cosines_with_the_means_of_directions() -> None:
    read, labels = features()
    made = prototypes.fit(read, labels, 3, folds(labels))
    rows = read.astype(np.float64)
    centre = np.mean([rows[labels == label].mean(axis=0) for label in range(3)], axis=0)
    directions = (rows - centre) / np.linalg.norm(rows - centre, axis=1)[:, None]
    means = np.stack([directions[labels == label].mean(axis=0) for label in range(3)])
    cosines = directions @ (means / np.linalg.norm(means, axis=1)[:, None]).T
    got = made.logits(read).astype(np.float64)
    assert (got.argmax(axis=1) == cosines.argmax(axis=1)).all()
    ratios = got / (cosines * np.linalg.norm(rows - centre, axis=1)[:, None])
    assert np.ptp(ratios) / ratios.mean() < 1e-2, "the same scale for all"


def spread(rows: int, noise: float, width: int = 60, classes: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """Return features that differ by class in few directions, and by `noise` in one that says nothing."""
    centres = np.random.default_rng(1).normal(size=(classes, width))
    labels = np.arange(rows) % classes
    read = centres[labels] + DRAW.normal(size=(rows, width)) * np.linspace(noise, 0.1, width)
    return read.astype(np.float32), labels


@pytest.mark.parametrize("noise", [4.0, 6.0])
def test_answers_are_as_sure_as_they_are_right(noise: float) -> None:
    read, labels = spread(400, noise)
    made = prototypes.fit(read, labels, 10, folds(labels))
    unseen, right = spread(5000, noise)
    answers = softmax(made.logits(unseen).astype(np.float64), axis=1)
    accuracy = (answers.argmax(axis=1) == right).mean()
    assert 0.2 < accuracy < 0.95
    assert answers.max(axis=1).mean() == pytest.approx(accuracy, abs=0.06)


def test_the_scale_has_the_lowest_loss_over_the_folds() -> None:
    read, labels = spread(80, 6.0)
    cuts = folds(labels)
    scale = np.linalg.norm(prototypes.fit(read, labels, 10, cuts).weight)
    scale /= np.linalg.norm(prototypes.fit(read, labels, 10, []).weight)
    heads = [prototypes.fit(read[fitted], labels[fitted], 10, []) for fitted, _ in cuts]
    told = np.concatenate([own.logits(read[scored]) for own, (_, scored) in zip(heads, cuts, strict=True)])
    right = np.concatenate([labels[scored] for _, scored in cuts])

    smoothed = np.full(told.shape, 1 / (len(right) + 2) / 10)
    smoothed[np.arange(len(right)), right] += 1 - 1 / (len(right) + 2)

    def loss(factor: float) -> float:
        return -float((smoothed * log_softmax(factor * told, axis=1)).sum(axis=1).mean())

    assert loss(scale) < min(loss(1.02 * scale), loss(scale / 1.02))


def test_few_rows_that_are_all_right_do_not_make_it_sure() -> None:
    """Two classes whose 16 rows a line divides, as often with few labels; some others lie beyond it."""
    generator = np.random.default_rng(3)

    def drawn(rows: int) -> tuple[np.ndarray, np.ndarray]:
        labels = np.arange(rows) % 2
        read = generator.normal(size=(rows, 10)) + 1.2 * np.where(labels, 1, -1)[:, None] * (
            np.arange(10) < 3
        )
        return read.astype(np.float32), labels

    losses = []
    for _ in range(10):
        (read, labels), (unseen, right) = drawn(16), drawn(2000)
        made = prototypes.fit(read, labels, 2, folds(labels))
        told = log_softmax(made.logits(unseen).astype(np.float64), axis=1)
        assert np.exp(told).max() < 1 - 1e-6, "nothing is certain after 16 rows"
        losses.append(-told[np.arange(len(right)), right].mean())
    assert np.mean(losses) < 0.25


def test_one_class_alone_is_not_scaled() -> None:
    read, labels = features(rows=8)
    made = prototypes.fit(read, np.zeros_like(labels), 3, folds(np.zeros_like(labels)))
    bare = prototypes.fit(read, np.zeros_like(labels), 3, [])
    assert (made.weight == bare.weight).all()


def test_without_folds_that_score_the_scale_is_one() -> None:
    read, labels = features(rows=3)
    alone = [(np.delete(np.arange(3), row), np.array([row])) for row in range(3)]
    bare, made = prototypes.fit(read, labels, 3, []), prototypes.fit(read, labels, 3, alone)
    assert (made.weight == bare.weight).all()


def test_a_class_without_rows_is_never_predicted() -> None:
    read, labels = features()
    made = prototypes.fit(read, labels, 5, folds(labels))
    far = np.concatenate([read, 50 * DRAW.normal(size=(200, 5)).astype(np.float32)])
    assert made.logits(far).argmax(axis=1).max() < 3


def test_one_row_of_each_class_is_enough() -> None:
    read, labels = features(rows=3)
    made = prototypes.fit(read, labels, 3, folds(labels))
    assert (made.logits(read).argmax(axis=1) == labels).all()


def test_a_row_of_weight_two_counts_twice() -> None:
    read, labels = features()
    twice = np.concatenate([np.arange(60), np.arange(20)])
    weights = np.where(np.arange(60) < 20, 2.0, 1.0).astype(np.float32)
    weighted, repeated = (
        prototypes.fit(read, labels, 3, folds(labels), weights),
        prototypes.fit(read[twice], labels[twice], 3, folds(labels[twice])),
    )
    # The scale may differ a little: folds of other rows.
    shares = [own.weight / np.linalg.norm(own.weight) for own in (weighted, repeated)]
    assert shares[0] == pytest.approx(shares[1], abs=1e-5)
    unweighted = prototypes.fit(read, labels, 3, folds(labels)).weight
    assert np.abs(unweighted / np.linalg.norm(unweighted) - shares[0]).max() > 1e-3
