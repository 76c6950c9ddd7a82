"""How many times as long one of several takes as another, on a machine whose own speed changes meanwhile.

Inputs: what times one item with one of them -> seconds (rounds, items) of each; two columns of paired times -> their ratio with an
interval.

They take turns at every item, in all orders alike. So whatever slows the machine for longer than a turn slows all of them, and it makes no
difference who comes after whom (as who leaves the caches in which state).
"""

import itertools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Seconds = NDArray[np.float64]
FEWEST = (
    6  # pairs that a 95% interval of their median needs: of five, all lie on one side of it in 1 of 16 cases
)


@dataclass(frozen=True)
class Limits:
    """When to stop."""

    rounds: int  # at least so many
    precision: float  # then as soon as the intervals of all ratios reach no further than this share to both sides, on average
    seconds: float  # or so much time is over
    confidence: float  # of the intervals


def alternated(
    timers: Mapping[str, Callable[[int], float]],
    items: int,
    limits: Limits,
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, Seconds]:
    """Time every item with everyone, round after round; the first round warms up and is left out.

    Args:
        timers: name -> seconds that it takes for an item.
        items: how many there are.
        limits: when to stop; never before all ratios can have an interval.
        clock: seconds since some time, by which it stops.

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
    """Whether half of the interval's width is at most this share of the ratio."""
    value, (low, high) = found
    return high - low <= 2 * precision * value


def ratio(first: Seconds, second: Seconds, confidence: float) -> tuple[float, tuple[float, float]]:
    """Median of `first` / `second` (pairs), and its interval (low, high).

    The ends are ranked values, as the sign test has it: whatever the distribution, at most so many pairs lie on one side of the median by
    chance (Conover 1999, Practical nonparametric statistics, 3.2). Pairs that are too few for that have the interval from 0 to infinity.
    """
    from scipy.stats import binom

    ratios = np.sort((first / second).ravel())
    rank = int(
        binom.ppf((1 - confidence) / 2, len(ratios), 0.5)
    )  # P(fewer than rank below the median) <= (1 - confidence) / 2
    bounds = (float(ratios[rank - 1]), float(ratios[-rank])) if rank else (0.0, float("inf"))
    return float(np.median(ratios)), bounds


def spread(rows: int, count: int) -> NDArray[np.int64]:
    """Up to `count` of so many rows, at equal distances from the first to the last."""
    return np.linspace(0, rows - 1, min(count, rows)).round().astype(np.int64)
