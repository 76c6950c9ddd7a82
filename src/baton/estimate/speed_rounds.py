"""How long `evaluate` measures speed, from few rounds of it. Pure functions.

It goes on until the intervals of all ratios are as narrow as params ask, or their seconds have passed. The
width of an interval falls with the square root of the number of rounds.
"""

import math
from collections.abc import Mapping
from typing import Any

from baton import params

ROUNDS, SECONDS = 1, 10.0  # of the rehearsal


def few(wanted: params.Speed) -> params.Speed:
    """Return settings for few rounds, or none if none are wanted."""
    return wanted.model_copy(
        update={
            "repeats": min(wanted.repeats, ROUNDS),
            "max_seconds": min(wanted.max_seconds, SECONDS),
        }
    )


def needed(ratios: Mapping[str, Mapping[str, Any]], rounds: int, precision: float) -> float:
    """Return the number of rounds after which all intervals are narrow enough."""
    widest = 0.0
    for own in ratios.values():
        low, high = own["throughput_interval"]
        widest = max(widest, (high - low) / (2 * precision * own["throughput"]))
    return rounds * widest**2 if math.isfinite(widest) else math.inf


def seconds(timings: Mapping[str, Any], wanted: params.Speed, test_rows: int) -> float:
    """Return the seconds of the measurement that params ask for.

    Args:
        timings: of the rehearsal, see `measure.speed.measure`.
        wanted: the section of params.
        test_rows: rows of test, some of which are read.
    """
    models, rounds = list(timings["models"].values()), int(timings["rounds"])
    rows = [own["samples_per_second"] for own in models]
    read = min(wanted.samples, test_rows)
    one = sum(read / rate for rate in rows)
    singles = sum(own["latency_p50_ms"] / 1000 for own in models) * min(wanted.latency_samples, read)
    rest = max(timings["seconds"] - (rounds + 1) * one - (ROUNDS + 1) * singles, 0.0)
    most = max(wanted.max_seconds / one, wanted.repeats)
    wanted_rounds = min(max(needed(timings["ratios"], rounds, wanted.precision), wanted.repeats), most)
    return float(rest + (wanted_rounds + 1) * one + (wanted.repeats + 1) * singles)
