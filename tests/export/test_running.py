"""Sides of a measurement of speed take turns, in an order of their own for each batch."""

from collections import Counter
from typing import Any

import numpy as np

from baton.export import running
from tests import tiny


class Batches:
    """A split of eight samples of one length."""

    lengths = windows = np.ones(8, np.int64)

    def __len__(self) -> int:
        return 8

    def batch(self, rows: Any) -> tuple[int, ...]:
        return tuple(rows.tolist())


def test_every_side_computes_every_batch_and_none_always_begins() -> None:
    calls: list[tuple[str, Any]] = []
    sides = {name: lambda batch, name=name: calls.append((name, batch)) for name in "abcdef"}
    taken = running.timed(sides, Batches(), 2, 0.0, tiny.machine())  # type: ignore[arg-type]
    rounds, batches = taken["a"].shape
    assert batches == 4 and rounds >= running.ROUNDS
    assert {*taken} == {*sides} and all((own >= 0).all() for own in taken.values())
    turns = [calls[start : start + 6] for start in range(0, len(calls), 6)]
    assert len(turns) == (rounds + 1) * batches, "the first round is a warm-up"
    for turn in turns:
        assert sorted(name for name, _ in turn) == sorted(sides) and len({batch for _, batch in turn}) == 1
    first = Counter(turn[0][0] for turn in turns)
    assert len(first) >= 4 and max(first.values()) < len(turns) / 2, first
    again: list[tuple[str, Any]] = []
    sides = {name: lambda batch, name=name: again.append((name, batch)) for name in "abcdef"}
    running.timed(sides, Batches(), 2, 0.0, tiny.machine())  # type: ignore[arg-type]
    assert again[: len(calls)] == calls[: len(again)], "the order does not depend on times"


def test_the_rate_is_of_the_median_round() -> None:
    taken = np.array([[1.0, 2.0], [1.0, 2.0], [100.0, 2.0]])
    assert running.rate(taken, 6) == 2.0
