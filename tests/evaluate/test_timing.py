"""Ratios of times on simulated machines of fluctuating speed; no test reads a clock."""

import math
from collections.abc import Callable, Iterator
from itertools import count

import numpy as np
import pytest
from scipy.stats import binom

from baton.evaluate import timing
from baton.evaluate.timing import Limits

WORK = {"teacher": 2.0, "student": 1.0, "control": 1.0}  # seconds per item on a machine at full speed
ITEMS = 16
LIMITS = Limits(rounds=5, precision=0.02, seconds=math.inf, confidence=0.95)


class Machine:
    """A simulated machine whose speed varies over time, with some random noise."""

    def __init__(self, slower: Callable[[float], float], seed: int = 0, noise: float = 0.05) -> None:
        self.slower, self.generator, self.noise, self.now = slower, np.random.default_rng(seed), noise, 0.0

    def run(self, work: float) -> float:
        """Return the seconds for `work` now."""
        hiccup = 5 if self.generator.random() < 0.02 else 1
        seconds = work * self.slower(self.now) * float(np.exp(self.generator.normal(0, self.noise))) * hiccup
        self.now += seconds
        return seconds

    def timers(self, work: dict[str, float]) -> dict[str, Callable[[int], float]]:
        """Return timers for items of varying length, equal for all."""
        return {name: lambda item, own=own: self.run(own * (1 + item % 4)) for name, own in work.items()}  # type: ignore[misc]


WHOLE = sum(WORK.values()) * ITEMS * 2.5  # seconds per round
MACHINES: dict[str, Callable[[float], float]] = {
    "steady": lambda now: 1.0,
    "slower and slower": lambda now: 1 + 0.25 * min(1.0, now / (6 * WHOLE)),
    "another job now and then": lambda now: 1.25 if (int(3 * now / WHOLE) * 2654435761 >> 7) & 1 else 1.0,
}


@pytest.mark.parametrize("machine", list(MACHINES))
def test_taking_turns_gives_the_ratio_whatever_the_machine_does(machine: str) -> None:
    taken = timing.alternated(Machine(MACHINES[machine]).timers(WORK), ITEMS, LIMITS)
    for first, second, true in (("teacher", "student", 2.0), ("student", "control", 1.0)):
        value, (low, high) = timing.ratio(taken[first], taken[second], 0.95)
        assert low <= value <= high
        assert value == pytest.approx(true, rel=0.03)
        assert (high - low) / 2 <= 0.02 * value


def runs(machine: Machine) -> float:
    """Return student to control as formerly measured.

    That was the ratio of medians of five whole runs of each model, one model after the other.
    """
    timers = machine.timers(WORK)
    taken: dict[str, list[float]] = {name: [] for name in WORK}
    for _ in range(5):
        for name in WORK:
            taken[name].append(sum(timers[name](item) for item in range(ITEMS)))
    return float(np.median(taken["student"]) / np.median(taken["control"]))


def test_one_run_after_the_other_does_not() -> None:
    """Negative control: student and control are identical.

    On a shared machine they used to appear to differ by a tenth or more.
    """
    slower = MACHINES["another job now and then"]
    old, new = [], []
    for seed in range(20):
        begun = 1000.0 * seed
        old.append(runs(Machine(lambda now, begun=begun: slower(now + begun), seed)))  # type: ignore[misc]
        machine = Machine(lambda now, begun=begun: slower(now + begun), seed)  # type: ignore[misc]
        taken = timing.alternated(machine.timers(WORK), ITEMS, LIMITS)
        new.append(timing.ratio(taken["student"], taken["control"], 0.95)[0])
    assert np.abs(np.log(old)).max() > 0.1
    assert np.abs(np.log(new)).max() < 0.04
    assert np.std(old) > 3 * np.std(new)


@pytest.mark.parametrize("machine", list(MACHINES))
def test_the_same_against_itself_is_one_as_often_as_the_interval_says(machine: str) -> None:
    held = []
    for seed in range(150):
        same = Machine(MACHINES[machine], seed, noise=0.1).timers({"one": 1.0, "two": 1.0})
        taken = timing.alternated(same, 6, Limits(rounds=5, precision=1.0, seconds=math.inf, confidence=0.95))
        _, (low, high) = timing.ratio(taken["one"], taken["two"], 0.95)
        held.append(low <= 1 <= high)
    assert np.mean(held) >= 0.95 - 2.5 * (0.95 * 0.05 / 150) ** 0.5


def test_a_ratios_interval_is_the_sign_tests() -> None:
    """With 9 pairs, the ends are the second and the eighth value.

    Fewer than two lie below the median in 10 of 512 cases (binomial, both sides 3.9%).
    """
    ratios = np.arange(1.0, 10.0)
    assert timing.ratio(ratios, np.ones(9), 0.95) == (5.0, (2.0, 8.0))
    for pairs in (6, 17, 100, 1001):
        _, (low, high) = timing.ratio(np.arange(1.0, pairs + 1), np.ones(pairs), 0.95)
        assert 2 * binom.cdf(low - 1, pairs, 0.5) <= 0.05 < 2 * binom.cdf(low, pairs, 0.5)
        assert high == pairs + 1 - low
    assert timing.ratio(np.ones(5), np.ones(5), 0.95) == (1.0, (0.0, math.inf))


def ticks(step: float) -> Callable[[], float]:
    """Return a clock that advances by a step at every reading."""
    times: Iterator[float] = (step * place for place in count())
    return lambda: next(times)


def test_it_goes_on_until_it_is_precise_or_time_is_up() -> None:
    noisy = Machine(MACHINES["steady"], noise=0.5)
    long = timing.alternated(noisy.timers(WORK), ITEMS, LIMITS)
    assert len(long["teacher"]) > 50
    short = timing.alternated(noisy.timers(WORK), ITEMS, Limits(5, 0.02, 9.5, 0.95), ticks(1.0))
    assert len(short["teacher"]) == 8, "the clock reads 10 after nine rounds, the first of which is a warm-up"
    least = timing.alternated(noisy.timers(WORK), ITEMS, Limits(5, 0.02, 0.0, 0.95))
    assert len(least["teacher"]) == 5
    one = timing.alternated(noisy.timers(WORK), 1, Limits(1, 0.9, 0.0, 0.95))
    assert len(one["teacher"]) == timing.FEWEST, "fewer pairs have no interval"


def test_everyone_has_every_place_and_every_predecessor_alike_and_the_first_round_is_left_out() -> None:
    seen: list[str] = []

    def timer(name: str) -> Callable[[int], float]:
        return lambda item: seen.append(name) or float(len(seen))  # type: ignore[func-returns-value]

    taken = timing.alternated({name: timer(name) for name in WORK}, 6, Limits(6, 1.0, 0.0, 0.95))
    assert len(seen) == 7 * 6 * 3
    turns = [tuple(seen[place : place + 3]) for place in range(0, len(seen), 3)]
    assert all(sorted(turn) == sorted(WORK) for turn in turns)
    assert {turns.count(order) for order in set(turns)} == {7} and len(set(turns)) == 6
    for item in range(6):
        assert len({turns[6 * place + item] for place in range(6)}) == 6, (
            "also for a single item, over six rounds"
        )
    assert taken["teacher"].shape == (6, 6)
    assert min(values.min() for values in taken.values()) > 18


def test_rows_are_spread_over_the_whole_split() -> None:
    assert timing.spread(10, 4).tolist() == [0, 3, 6, 9]
    assert timing.spread(3, 512).tolist() == [0, 1, 2]
    rows = timing.spread(2189, 512)
    assert (rows[0], rows[-1], len(set(rows.tolist()))) == (0, 2188, 512)
