"""What is drawn from pictures: the most confident mistakes with what the model looked at, and a sheet of augmented samples.

Inputs: test rows and a model's answers -> which mistakes they are; the pictures and attributions themselves come from the stage.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from baton.evaluate.baselines import Outputs
from baton.evaluate.inputs import Rows


@dataclass(frozen=True)
class Mistake:
    """A wrong answer: two classes, each with the probability that the model gives it."""

    name: str  # of the picture
    actual: tuple[str, float]
    predicted: tuple[str, float]


@dataclass(frozen=True)
class Gallery:
    """The most confident mistakes of a model."""

    mistakes: list[Mistake]  # (shown)
    pixels: NDArray[np.uint8]  # (shown, height, width, channels)
    attributions: NDArray[
        np.float32
    ]  # (shown, height, width): above 0 speaks for the predicted class, below 0 for the actual one
    count: int  # of all its mistakes
    rows: int  # of test


@dataclass(frozen=True)
class Sheet:
    """Samples as evaluation and as training sees them."""

    classes: list[str]  # (samples)
    pixels: NDArray[np.uint8]  # (samples, 1 + epochs, height, width, channels): unchanged first


def mistakes(rows: Rows, outputs: Outputs) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Places of the wrong answers (mistakes), the most confident first, and their confidence (mistakes)."""
    wrong = np.flatnonzero(outputs.predicted != rows.labels)
    confidence = np.exp(outputs.scaled.max(axis=1))
    order = wrong[np.argsort(-confidence[wrong], kind="stable")]
    return order, confidence[order]


def gallery(
    places: NDArray[np.int64],
    rows: Rows,
    outputs: Outputs,
    names: Sequence[str],
    pixels: NDArray[np.uint8],
    attributions: NDArray[np.float32],
) -> Gallery:
    """Put together what is shown of the mistakes at `places` (shown)."""
    p = np.exp(outputs.scaled[places])  # (shown, classes)
    answers = [
        Mistake(rows.texts[row], (names[actual], float(p[k, actual])), (names[chosen], float(p[k, chosen])))
        for k, (row, actual, chosen) in enumerate(
            zip(places, rows.labels[places], outputs.predicted[places], strict=True)
        )
    ]
    return Gallery(
        answers, pixels, attributions, int((outputs.predicted != rows.labels).sum()), len(rows.labels)
    )


def examples(labels: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Places of up to `count` samples, of different classes as far as there are: the first of each class, then the second ones."""
    order = np.argsort(labels, kind="stable")
    firsts = np.searchsorted(labels[order], labels[order])
    turn = np.empty(len(labels), dtype=np.int64)
    turn[order] = np.arange(len(labels)) - firsts  # the how-manieth of its class a sample is
    return np.lexsort((labels, turn))[:count]
