"""Transfer scores: what a source task brings to a target task, over seeds.

Inputs: the target's accuracy of each seed with the source (the base model was trained on it first) and
without it, on the same rows -> the gain, and the share of the error that it removes, each with Student's
interval of the paired values. Unlike the gain, the share can be compared between targets of different
difficulty.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from baton.errors import DataError
from baton.evaluate.seeds import Mean, student


@dataclass(frozen=True)
class Transfer:
    """The transfer score of a source for a target; shares, not points."""

    seeds: int
    gain: Mean  # accuracy with the source minus without
    removed: Mean | None  # (error without - error with) / error without; None if a seed has no error


def score(with_source: Sequence[float], without: Sequence[float], confidence: float) -> Transfer:
    """Return the transfer score of accuracies, one per seed and in the same order of seeds.

    Raises:
        DataError: they are not pairs, or not shares.
    """
    if len(with_source) != len(without) or not without:
        got = f"{len(with_source)} with the source, {len(without)} without" if without else "no seed"
        raise DataError(
            "accuracies with and without a source are not pairs", got=got, expected="one of each per seed"
        )
    own, other = np.asarray(with_source, np.float64), np.asarray(without, np.float64)
    if not ((own >= 0) & (own <= 1) & (other >= 0) & (other <= 1)).all():
        got = f"{min(*own, *other):g} to {max(*own, *other):g}"
        raise DataError("a transfer score is one of accuracies", got=got, expected="shares from 0 to 1")
    gained = own - other
    removed = student(gained / (1 - other), confidence) if (other < 1).all() else None
    return Transfer(len(own), student(gained, confidence), removed)
