"""Waiting for what may come back: a network, a server, a remote.

A job that has trained for hours waits for minutes; how long, the environment may say (`VARIABLE`).
"""

import os
import random
import time
from collections.abc import Callable, Iterator

from baton import console
from baton.errors import ParamsError

VARIABLE, SECONDS = "BATON_PATIENCE_SECONDS", 300.0
FIRST, LONGEST = 1.0, 60.0  # seconds between two tries: the first pause doubles up to the longest
SPREAD = 0.25  # share of a pause by which it is varied, so that jobs do not return at the same time


def pauses(seconds: float) -> Iterator[float]:
    """Yield the seconds to wait before each further try; they add up to `seconds`."""
    left = seconds
    pause = FIRST
    while left > 0:
        varied = min(left, pause * random.uniform(1 - SPREAD, 1 + SPREAD))  # noqa: S311
        yield varied
        left, pause = left - varied, min(2 * pause, LONGEST)


def allowed() -> float:
    """Return the seconds that a job waits.

    Raises:
        ParamsError: the environment says something else than a number.
    """
    text = os.environ.get(VARIABLE) or str(SECONDS)
    try:
        return float(text)
    except ValueError:
        raise ParamsError(f"{VARIABLE} is not a number", got=text, expected="seconds, such as 300") from None


def persist(attempt: Callable[[], str | None]) -> str | None:
    """Call `attempt` until it returns None, pausing in between; return its last answer.

    `attempt` returns what stood in its way if that may pass, and raises if no further try helps.
    """
    rest = pauses(allowed())
    while (trouble := attempt()) is not None:
        pause = next(rest, None)
        if pause is None:
            return trouble
        console.warn("network", f"{trouble}; trying again in {pause:.0f} s")
        time.sleep(pause)
    return None
