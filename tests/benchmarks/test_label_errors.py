"""The benchmark of planted label errors: what is planted, and what is counted as found."""

import numpy as np

from baton.labelling.ranking import Ranked
from benchmarks import label_errors


def test_a_share_of_the_labels_is_another_class() -> None:
    true = np.arange(200) % 4
    labels, wrong = label_errors.flipped(true, 4, 0.05, 0)
    assert wrong.sum() == 10
    assert ((labels != true) == wrong).all()
    again, _ = label_errors.flipped(true, 4, 0.05, 1)
    assert (again != labels).any()


def test_found_rows_are_counted() -> None:
    wrong = np.array([True, True, False, False, False, False])
    ranked = Ranked(
        np.array([0, 2, 3, 1, 4, 5]), np.array([1, 0, 1, 0, 0, 0], bool), np.zeros(6), np.zeros(6, int)
    )
    assert label_errors.scores(ranked, wrong) == label_errors.Found(2, 1.0, 0.5, 0.5, 0.5)
