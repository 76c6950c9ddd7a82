"""What a model claims and how sure it is: the risk if it only answers when sure, and thresholds for that.

Inputs: probabilities of claims and whether they are right, on validation and test -> rows of
reports/tables/risk_coverage.csv and thresholds.csv. A claim is a class, a label, an entity or an answer.

El-Yaniv and Wiener 2010, On the foundations of noise-free selective classification. Thresholds are chosen on
validation, and test shows what they are worth; chosen on test, they would always seem to hold.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baton.evaluate.proportions import wilson

RISKS = ["model", "coverage", "risk", "risk_low", "risk_high", "threshold"]
THRESHOLDS = ["model", "name", "wanted", "threshold", "claims", "kept"]
THRESHOLDS += ["precision", "precision_low", "precision_high"]
POINTS = 100  # of a curve
WANTED = (0.9, 0.95, 0.98, 0.99, 0.995)
OF_NAME = 0.95  # the precision wanted of each class, label or type
FEWEST = 20  # claims of validation by which a threshold is chosen


@dataclass(frozen=True)
class Claims:
    """What a model says of some rows, and how sure it is."""

    sure: NDArray[np.float64]  # (claims), its probability
    right: NDArray[np.bool_]  # (claims)
    names: NDArray[np.int64] | None = None  # (claims), of what is claimed; None without names

    def of(self, name: int) -> "Claims":
        """Return the claims of one name."""
        assert self.names is not None, "only claims of a task with names have one"
        own = self.names == name
        return Claims(self.sure[own], self.right[own])


def risks(model: str, claims: Claims, confidence: float) -> list[list[object]]:
    """Return rows of RISKS: the share of wrong claims among the surest, for growing shares of all.

    Claims of equal probability come together.
    """
    order = np.argsort(-claims.sure, kind="stable")
    sure, wrong = claims.sure[order], np.cumsum(~claims.right[order])
    ends = np.append(np.flatnonzero(np.diff(sure)), len(sure) - 1) if len(sure) else np.zeros(0, np.int64)
    places = np.linspace(0, len(ends) - 1, min(POINTS, len(ends))).round().astype(np.int64)
    rows: list[list[object]] = []
    for end in ends[np.unique(places)].tolist():
        count = end + 1
        low, high = wilson(int(wrong[end]), count, confidence)
        risk = float(wrong[end] / count)
        rows.append([model, count / len(sure), risk, float(low), float(high), float(sure[end])])
    return rows


def threshold(claims: Claims, wanted: float) -> float | None:
    """Return the lowest probability from which on the share of right claims is `wanted`; None without one.

    Args:
        claims: of validation.
        wanted: the precision.
    """
    if len(claims.sure) < FEWEST:
        return None
    order = np.argsort(-claims.sure, kind="stable")
    sure, right = claims.sure[order], np.cumsum(claims.right[order])
    last = np.append(np.diff(sure) != 0, True)  # of claims of equal probability
    enough = last & (right >= wanted * np.arange(1, len(sure) + 1) - 1e-9)
    return float(sure[np.flatnonzero(enough)[-1]]) if enough.any() else None


def thresholds(
    model: str, names: Sequence[str], val: Claims, test: Claims, confidence: float
) -> list[list[object]]:
    """Return rows of THRESHOLDS: of all claims at each precision of WANTED, and of each name at OF_NAME.

    `name` is empty for all claims; `threshold` and what follows from it are empty if validation has too few
    claims or no such threshold. A name that the model claims too rarely on validation is left out.
    """
    rows = [_at(model, "", wanted, val, test, confidence) for wanted in WANTED]
    for place, name in enumerate(names if val.names is not None else ()):
        own = val.of(place)
        if len(own.sure) >= FEWEST:
            rows.append(_at(model, name, OF_NAME, own, test.of(place), confidence))
    return rows


def _at(model: str, name: str, wanted: float, val: Claims, test: Claims, confidence: float) -> list[object]:
    found = threshold(val, wanted)
    if found is None:
        return [model, name, wanted, "", len(test.sure), "", "", "", ""]
    kept = test.sure >= found
    count, right = int(kept.sum()), int(test.right[kept].sum())
    share: Any = count / len(test.sure) if len(test.sure) else ""
    if not count:
        return [model, name, wanted, found, len(test.sure), share, "", "", ""]
    low, high = wilson(right, count, confidence)
    return [model, name, wanted, found, len(test.sure), share, right / count, float(low), float(high)]


def tables(
    names: Sequence[str], val: Mapping[str, Claims], test: Mapping[str, Claims], confidence: float
) -> tuple[list[list[object]], list[list[object]]]:
    """Return the rows of both tables, for models that claim anything on test."""
    some = {model: own for model, own in test.items() if len(own.sure)}
    curves = [row for model, own in some.items() for row in risks(model, own, confidence)]
    chosen = [
        row
        for model, own in some.items()
        if model in val
        for row in thresholds(model, names, val[model], own, confidence)
    ]
    return curves, chosen
