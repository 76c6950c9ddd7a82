"""The selection of mistakes and samples to show."""

import numpy as np
import pytest

from baton.evaluate.baselines import Outputs
from baton.evaluate.inputs import Rows
from baton.evaluate.report import image_galleries

P = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.55, 0.45], [0.3, 0.7]])
OUTPUTS = Outputs(P.argmax(axis=1), np.log(P))
ROWS = Rows(list("abcde"), [f"{name}.png" for name in "abcde"], np.array([1, 1, 0, 1, 0]), "name")


def test_mistakes_come_most_confident_first() -> None:
    places, confidence = image_galleries.mistakes(ROWS, OUTPUTS)
    assert places.tolist() == [0, 2, 4, 3]
    assert confidence == pytest.approx([0.9, 0.8, 0.7, 0.55])
    places, softened = image_galleries.mistakes(
        ROWS, Outputs(OUTPUTS.predicted, OUTPUTS.log_p, temperature=2.0)
    )
    assert places.tolist() == [0, 2, 4, 3]
    # The square root of 0.9 over the sum of the square roots of 0.9 and 0.1, as served.
    assert softened[0] == pytest.approx(0.75)


def test_a_gallery_says_both_classes_with_their_probabilities() -> None:
    got = image_galleries.gallery(
        np.array([2, 3]),
        ROWS,
        OUTPUTS,
        ["cat", "dog"],
        np.zeros((2, 4, 4, 1), np.uint8),
        np.zeros((2, 4, 4), np.float32),
    )
    first, second = got.mistakes
    assert (first.name, first.actual[0], first.predicted[0]) == ("c.png", "cat", "dog")
    assert (first.actual[1], first.predicted[1]) == pytest.approx((0.2, 0.8))
    assert (second.actual, second.predicted) == (("dog", pytest.approx(0.45)), ("cat", pytest.approx(0.55)))
    assert (got.count, got.rows) == (4, 5)


def test_examples_are_of_different_classes_as_far_as_there_are() -> None:
    labels = np.array([2, 2, 0, 1, 0, 2, 1])
    assert image_galleries.examples(labels, 3).tolist() == [2, 3, 0]
    assert image_galleries.examples(labels, 5).tolist() == [2, 3, 0, 4, 6]
    assert image_galleries.examples(labels, 100).tolist() == [2, 3, 0, 4, 6, 1, 5]
