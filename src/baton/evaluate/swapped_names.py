"""Find out whether a model's classes have each other's names.

Input: predicted and actual classes of the test rows. Output: whether the names look right, and why.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.stats import binomtest

ACCIDENT = 1e-3  # a swap of names is reported if chance explains it with a lower probability than this
SOME = 3  # examples in a message


def judge(predicted: NDArray[np.int64], labels: NDArray[np.int64], names: Sequence[str]) -> tuple[bool, str]:
    """Return whether classes have their right names, and the finding.

    Names are suspect if the assignment that best fits the predictions renames some of them in a cycle, each
    name is right more often after the change, and chance does not explain it (binomial test over the cycle).
    A model that is no better than a constant under any names is bad, not swapped.

    Args:
        predicted: (rows,).
        labels: (rows,).
        names: of the classes.
    """
    counts = np.zeros((len(names), len(names)), np.int64)
    np.add.at(counts, (predicted, labels), 1)  # (predicted, actual)
    rows, actual = linear_sum_assignment(counts, maximize=True)
    fits = counts[rows, actual].sum() > counts.sum(axis=0).max()
    moved = [circle for circle in _circles(actual) if fits and _swapped(counts, circle)]
    if not moved:
        return True, "no other order of the classes fits the predictions better"
    examples = [f"{names[i]} as {names[actual[i]]}" for circle in moved for i in circle]
    gained = sum(int(counts[i, actual[i]] - counts[i, i]) for circle in moved for i in circle)
    text = (
        f"its label map looks swapped: reading {', '.join(examples[:SOME])} would make {gained:,} more of "
        f"{len(labels):,} rows right"
    )
    return False, text


def _circles(order: NDArray[np.int64]) -> Iterable[list[int]]:
    """Yield the cycles of a permutation, except fixed points; each element is followed by its image."""
    left = set(range(len(order)))
    while left:
        circle = [left.pop()]
        while (following := int(order[circle[-1]])) in left:
            left.remove(following)
            circle.append(following)
        if len(circle) > 1:
            yield circle


def _swapped(counts: NDArray[np.int64], circle: list[int]) -> bool:
    renamed = [int(counts[i, j]) for i, j in zip(circle, [*circle[1:], circle[0]], strict=True)]
    kept = [int(counts[i, i]) for i in circle]
    more = all(new > old for new, old in zip(renamed, kept, strict=True))
    return more and bool(
        binomtest(sum(renamed), sum(renamed) + sum(kept), 0.5, alternative="greater").pvalue < ACCIDENT
    )
