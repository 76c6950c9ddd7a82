"""Time ratios of several contenders on a machine whose speed fluctuates.

Inputs: functions that time one item with one contender -> seconds (rounds, items) of each; two columns of
paired times -> their ratio with an interval.

They take turns at every item, in all orders equally often. A slowdown longer than a turn therefore affects
all of them, and it does not matter which follows which (and in what state it finds the caches).
"""

import itertools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Seconds = NDArray[np.float64]
# Pairs that a 95% interval of their median needs: five all lie on one side of it in 1 of 16 cases.
FEWEST = 6


@dataclass(frozen=True)
class Limits:
    """When to stop."""

    rounds: int  # the minimum
    precision: float  # then stop once each ratio's interval has at most this relative half-width
    seconds: float  # or once this much time has passed
    confidence: float  # of the intervals


def alternated(
    timers: Mapping[str, Callable[[int], float]],
    items: int,
    limits: Limits,
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, Seconds]:
    """Time every item with every timer, round after round; the first round is a warm-up and is dropped.

    Args:
        timers: name -> function that returns the seconds for an item.
        items: the number of items.
        limits: when to stop; never before all ratios can have an interval.
        clock: seconds since an arbitrary time, to stop by.

    Returns:
        name -> seconds (rounds, items).
    """
    orders, begun = list(itertools.permutations(timers)), clock()
    taken: list[list[list[float]]] = []
    while not _enough(taken, items, limits, clock() - begun):
        turn = len(taken)
        round_: list[list[float]] = []
        for item in range(items):
            seconds = {name: timers[name](item) for name in orders[(turn + item) % len(orders)]}
            round_.append([seconds[name] for name in timers])
        taken.append(round_)
    measured = np.array(taken[1:])  # (rounds, items, names)
    return {name: measured[:, :, place] for place, name in enumerate(timers)}


def _enough(taken: list[list[list[float]]], items: int, limits: Limits, elapsed: float) -> bool:
    rounds = len(taken) - 1
    if rounds < limits.rounds or rounds * items < FEWEST:
        return False
    if elapsed >= limits.seconds:
        return True
    columns = np.array(taken[1:]).reshape(rounds * items, -1).T  # (names, pairs)
    return all(
        precise(ratio(first, second, limits.confidence), limits.precision)
        for first, second in itertools.combinations(columns, 2)
    )


def precise(found: tuple[float, tuple[float, float]], precision: float) -> bool:
    """Return whether half of the interval's width is at most this share of the ratio."""
    value, (low, high) = found
    return high - low <= 2 * precision * value


def ratio(first: Seconds, second: Seconds, confidence: float) -> tuple[float, tuple[float, float]]:
    """Return the median of `first` / `second` (pairs), and its interval (low, high).

    The ends are order statistics, as in the sign test: whatever the distribution, they bound how many pairs
    lie on one side of the median by chance (Conover 1999, Practical nonparametric statistics, 3.2). With too
    few pairs for that, the interval is 0 to infinity.
    """
    from scipy.stats import binom

    ratios = np.sort((first / second).ravel())
    # P(fewer than rank below the median) <= (1 - confidence) / 2
    rank = int(binom.ppf((1 - confidence) / 2, len(ratios), 0.5))
    bounds = (float(ratios[rank - 1]), float(ratios[-rank])) if rank else (0.0, float("inf"))
    return float(np.median(ratios)), bounds


def spread(rows: int, count: int) -> NDArray[np.int64]:
    """Return up to `count` of `rows` positions, evenly spaced from the first to the last."""
    return np.linspace(0, rows - 1, min(count, rows)).round().astype(np.int64)
