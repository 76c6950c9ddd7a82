"""Metrics on their way to the store: buffered, and sent every few seconds by a thread, so that a step costs microseconds.

A send that fails is tried again with the next; the training goes on whatever happens. (MLflow's own asynchronous logging drops a failed
batch.)
"""

import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from rich.markup import escape

from baton import console

SECONDS = 5.0
# How long the end of a stage waits for a send that is under way.
JOIN_SECONDS = 30.0


class Point(NamedTuple):
    """One value of a metric of a run, and of a logged model if `model` is its id; `dataset` is (name, digest). `time`: ms since 1970."""

    run: str
    key: str
    value: float
    step: int
    time: int
    model: str | None = None
    dataset: tuple[str, str] | None = None


class Delivery:
    """A buffer of points and the thread that empties it."""

    def __init__(self, send: Callable[[Sequence[Point]], None], sample: Callable[[], Sequence[Point]]) -> None:
        """`send` stores points or raises; `sample` gives further ones (system metrics) at each round."""
        self._send, self._sample = send, sample
        self._points: list[Point] = []
        self._guard, self._stop = threading.Lock(), threading.Event()
        self._warned = False
        self.hangs = False  # set by who noticed; a send that comes through ends it
        self._thread = threading.Thread(target=self._rounds, name="tracking", daemon=True)
        self._thread.start()

    def add(self, points: Sequence[Point]) -> None:
        """Take points over."""
        with self._guard:
            self._points.extend(points)

    def flush(self) -> bool:
        """Send what is there; False if the store refused."""
        with self._guard:
            points, self._points = self._points, []
        if not points:
            return True
        try:
            self._send(points)
        except Exception as error:  # noqa: BLE001  whatever a store, a network or a disk can raise must not reach the training
            with self._guard:
                self._points[:0] = points
            self.warn(error)
            return False
        self.hangs = False
        return True

    def warn(self, error: Exception) -> None:
        """Say once that the store does not answer."""
        if not self._warned:
            self._warned = True
            reason = " ".join(str(error).split())[:300]
            console.say(f"[yellow]tracking:[/] the MLflow store failed; the stage goes on, figures may be missing there ({escape(reason)})")

    def close(self) -> None:
        """Send the rest and end the thread."""
        self._stop.set()
        self._thread.join(JOIN_SECONDS)
        self._collect()
        if not self.flush():
            console.say(f"[yellow]tracking:[/] {len(self._points):,} points did not reach the MLflow store")

    def _rounds(self) -> None:
        while not self._stop.wait(SECONDS):
            self._collect()
            self.flush()

    def _collect(self) -> None:
        try:
            self.add(self._sample())
        except Exception as error:  # noqa: BLE001  a sensor that vanishes is no reason to end anything
            self.warn(error)


def now() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000
