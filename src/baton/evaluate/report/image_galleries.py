"""Contents of image plots: the most confident mistakes with attributions, and a sheet of augmented samples.

Inputs: test rows and a model's answers -> the mistakes; the stage supplies the images and attributions.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from baton.evaluate.baselines import Outputs
from baton.evaluate.inputs import Rows


@dataclass(frozen=True)
class Mistake:
    """A wrong answer: the actual and the predicted class, each with the model's probability."""

    name: str  # of the image
    actual: tuple[str, float]
    predicted: tuple[str, float]


@dataclass(frozen=True)
class Gallery:
    """The most confident mistakes of a model."""

    mistakes: list[Mistake]  # (shown)
    pixels: NDArray[np.uint8]  # (shown, height, width, channels)
    # (shown, height, width): above 0 favours the predicted class, below 0 the actual one
    attributions: NDArray[np.float32]
    count: int  # of all its mistakes
    rows: int  # of test
    deletion: Sequence[Sequence[object]] = ()  # rows of deletion.csv, see `attributions`


@dataclass(frozen=True)
class Sheet:
    """Samples as seen by evaluation and by training."""

    classes: list[str]  # (samples)
    pixels: NDArray[np.uint8]  # (samples, 1 + epochs, height, width, channels), starting unchanged


def mistakes(rows: Rows, outputs: Outputs) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return positions of wrong answers, most confident first, and their confidence, both (mistakes)."""
    wrong = np.flatnonzero(outputs.predicted != rows.targets)
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
    """Assemble the gallery of the mistakes at `places` (shown)."""
    p = np.exp(outputs.scaled[places])  # (shown, classes)
    answers = [
        Mistake(rows.texts[row], (names[actual], float(p[k, actual])), (names[chosen], float(p[k, chosen])))
        for k, (row, actual, chosen) in enumerate(
            zip(places, rows.targets[places], outputs.predicted[places], strict=True)
        )
    ]
    return Gallery(
        answers, pixels, attributions, int((outputs.predicted != rows.targets).sum()), len(rows.targets)
    )


def examples(labels: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return positions of up to `count` samples, from as many classes as possible.

    The first sample of each class comes first, then the second ones.
    """
    order = np.argsort(labels, kind="stable")
    firsts = np.searchsorted(labels[order], labels[order])
    turn = np.empty(len(labels), dtype=np.int64)
    turn[order] = np.arange(len(labels)) - firsts  # a sample's rank within its class
    return np.lexsort((labels, turn))[:count]
