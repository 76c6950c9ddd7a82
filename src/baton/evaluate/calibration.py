"""Reliability: how often a classifier is right when it claims to be p sure.

Inputs: labels (n), predicted classes (n) and log-probabilities (n, classes) -> one row per equal-width bin of confidence.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baton.evaluate.metrics import bin_of


@dataclass(frozen=True)
class Reliability:
    """Per bin of confidence, all (bins): `count` rows, their mean `confidence` and their `accuracy` (NaN in an empty bin)."""

    edges: NDArray[np.float64]  # (bins + 1)
    count: NDArray[np.int64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]

    @property
    def error(self) -> float:
        """The expected calibration error: mean |accuracy - confidence| over bins, weighted by rows (Guo et al. 2017)."""
        filled = self.count > 0
        gaps = np.abs(self.accuracy - self.confidence)[filled]
        return float((gaps * self.count[filled]).sum() / self.count.sum())


def reliability(labels: NDArray[Any], predicted: NDArray[Any], log_p: NDArray[np.float64], bins: int) -> Reliability:
    """Bin the rows by the probability of their predicted class; bins are ((m - 1) / bins, m / bins]."""
    confidence = np.exp(log_p[np.arange(len(labels)), predicted])
    place = bin_of(confidence, bins)
    count = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):  # 0 / 0 in an empty bin
        return Reliability(
            edges=np.linspace(0, 1, bins + 1),
            count=count.astype(np.int64),
            confidence=np.bincount(place, weights=confidence, minlength=bins) / count,
            accuracy=np.bincount(place, weights=labels == predicted, minlength=bins) / count,
        )
