"""Tests by approximate randomisation: the outputs of two equally good models for a row can be exchanged.

Noreen 1989, Computer-intensive methods for testing hypotheses; Yeh 2000, More accurate tests for the
statistical significance of result differences.

Inputs: what each row adds to the difference of two models -> the p of no difference, and its place among the
figures of a comparison.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baton import params
from baton.evaluate.resampling import Resamples, widest

Floats = NDArray[np.float64]

AT_ONCE = 2_000_000  # signs in memory: 16 MB
EXCHANGES = 20  # at least, for each p of the level divided by the number of tests
SAME = 1e-12  # smaller differences are rounding errors


def exchanges(settings: params.Bootstrap, pairs: int) -> int:
    """Return how many exchanges a test makes that is adjusted for `pairs` tests.

    The smallest p must be far below the level even after it was multiplied by the number of tests, however
    few resamples the bootstrap has; with too few exchanges no difference could be significant.
    """
    return max(settings.resamples, math.ceil(EXCHANGES * pairs / (1 - settings.confidence)))


def exchanged_p(
    change: Floats, gap: Callable[[Floats], Floats], least: float, resamples: int, seed: int
) -> float:
    """Return the two-sided p of no difference, by exchanging the two models' outputs of random rows.

    Args:
        change: the first model's statistics of each row minus the second's, (n,) or (n, columns).
        gap: sums of `change` over rows, (block,) or (block, columns) -> differences in the figure, (block,).
        least: the size of a difference that counts as no smaller than the actual one.
        resamples: the number of random exchanges; p is at least 1 / (resamples + 1).
        seed: of the draws.
    """
    moved = change[change.reshape(len(change), -1).any(axis=1)]  # exchanging equal rows changes nothing
    generator, reached, block = np.random.default_rng(seed), 0, max(1, AT_ONCE // max(len(moved), 1))
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        signs = 2.0 * generator.integers(0, 2, (size, len(moved))) - 1
        reached += int((np.abs(gap(signs @ moved)) >= least).sum())
    return (1 + reached) / (1 + resamples)


def tested(
    boot: Resamples, first: str, second: str, figures: tuple[str, ...], p_value: float
) -> dict[str, Any]:
    """Return the differences in `figures` with their intervals, and the p of the first of them.

    Its interval is extended to 0 if p is not below 1 - confidence.
    """
    main = f"{figures[0]}_difference_interval"
    result = boot.differences(first, second, figures)
    if p_value >= 1 - boot.confidence:
        result[main] = widest(result[main], (0.0, 0.0))
    return result | {f"{figures[0]}_p": p_value}
