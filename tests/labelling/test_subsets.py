"""Subsets are nested, stratified, and a pure function of labels and seed."""

import numpy as np
import pytest

from baton.labelling import subsets


def test_each_beginning_has_the_classes_in_their_shares() -> None:
    labels = np.repeat([0, 1, 2], [700, 250, 50])
    order = subsets.order(labels, 0)
    assert sorted(order) == list(range(1000))
    for size in (50, 100, 333, 1000):
        counts = np.bincount(labels[order[:size]], minlength=3)
        assert np.abs(counts - size * np.array([0.7, 0.25, 0.05])).max() <= 1.5


def test_the_seed_alone_decides() -> None:
    labels = np.arange(100) % 3
    assert (subsets.order(labels, 1) == subsets.order(labels, 1)).all()
    assert (subsets.order(labels, 1) != subsets.order(labels, 2)).any()


def test_a_single_row_of_a_class_is_not_always_first_or_last() -> None:
    labels = np.r_[np.zeros(99, int), 1]
    places = [int(np.flatnonzero(subsets.order(labels, seed) == 99)[0]) for seed in range(40)]
    assert min(places) < 25 and max(places) > 75


@pytest.mark.parametrize(
    ("rows", "classes", "expected"),
    [
        (1600, 3, [100, 141, 200, 283, 400, 566, 800, 1131, 1600]),
        (60, 2, [11, 15, 21, 30, 42, 60]),
        (1600, 200, [400, 566, 800, 1131, 1600]),
        (8, 2, []),
    ],
)
def test_sizes(rows: int, classes: int, expected: list[int]) -> None:
    assert subsets.sizes(rows, classes) == expected
