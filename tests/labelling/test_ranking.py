"""Planted errors are found among the first rows, by probabilities of probes that have not seen the row."""

import numpy as np
import pytest
from cleanlab.rank import get_label_quality_scores
from numpy.typing import NDArray

from baton.labelling import out_of_fold, ranking
from baton.labelling.out_of_fold import Judged
from baton.labelling.probes import Labelled

CLASSES, WIDTH = 4, 8


def clouds(rows: int, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return rows around one centre per class, and their classes."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, CLASSES, rows)
    centres = 2 * np.eye(CLASSES, WIDTH)
    return (centres[labels] + 0.5 * draw.normal(size=(rows, WIDTH))).astype(np.float32), labels


def flipped(labels: NDArray[np.int64], share: float) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    draw = np.random.default_rng(1)
    wrong = np.zeros(len(labels), np.bool_)
    wrong[draw.choice(len(labels), round(share * len(labels)), replace=False)] = True
    shift = draw.integers(1, CLASSES, len(labels))
    return np.where(wrong, (labels + shift) % CLASSES, labels), wrong


def judged(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    units: NDArray[np.int64] | None = None,
    others: int = 0,
) -> Judged:
    left = len(labels) - others
    rows = Labelled(
        features[:left], labels[:left], np.arange(left) if units is None else units, None, CLASSES, False
    )
    done: list[int] = []
    found = out_of_fold.judge(rows, features[left:], labels[left:], 0, done.append)
    assert sum(done) == out_of_fold.FOLDS + 1
    return found


def test_flipped_labels_of_train_and_val_come_first() -> None:
    features, true = clouds(600)
    labels, wrong = flipped(true, 0.05)
    found = ranking.rank(labels, judged(features, labels, others=100))
    first = found.order[: 2 * wrong.sum()]
    assert wrong[first].sum() >= 0.8 * wrong.sum()
    assert set(found.order.tolist()) == set(range(600))
    assert (found.suggested[wrong] == true[wrong]).mean() > 0.9
    assert abs(int(found.wrong.sum()) - int(wrong.sum())) < 0.4 * wrong.sum()
    control = np.random.default_rng(2).permutation(600)[: len(first)]
    assert wrong[control].sum() < 0.3 * wrong.sum()  # the order matters


def test_few_true_labels_are_called_wrong() -> None:
    features, labels = clouds(600)
    assert ranking.rank(labels, judged(features, labels)).wrong.sum() <= 6


def test_the_score_is_cleanlabs() -> None:
    features, true = clouds(200)
    labels, _ = flipped(true, 0.1)
    made = judged(features, labels)
    np.testing.assert_allclose(
        ranking.rank(labels, made).scores, get_label_quality_scores(labels, made.probabilities)
    )


def test_a_copy_with_the_same_wrong_label_does_not_confirm_it() -> None:
    draw = np.random.default_rng(0)
    features, labels = draw.normal(size=(60, 64)).astype(np.float32), np.arange(60) % 2
    twice, same = np.concatenate([features, features]), np.concatenate([labels, labels])
    together = judged(twice, same, np.concatenate([np.arange(60), np.arange(60)]))
    apart = judged(twice, same)
    own = np.arange(120), same
    assert apart.probabilities[own].mean() > 0.7  # the control: seen copies give the label away
    assert together.probabilities[own].mean() < 0.6


def test_a_row_alone_in_its_class_cannot_be_judged() -> None:
    features, labels = clouds(100)
    labels = np.where(labels == 3, 2, labels)
    labels[7] = 3
    made = judged(features, labels)
    assert not made.known[7] and made.known.sum() == 99
    found = ranking.rank(labels, made)
    assert 7 not in found.order and not found.wrong[7]


@pytest.mark.parametrize("rows", [2, 3])
def test_tiny_tables(rows: int) -> None:
    features, _ = clouds(rows)
    labels = np.arange(rows) % 2
    found = ranking.rank(labels, judged(features, labels))
    assert len(found.wrong) == rows
