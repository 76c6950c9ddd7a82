"""Heartbeats of processes that a launcher started, on any machine: when one is gone, the others end.

Each process writes a number into the common store every few seconds and reads the others'. Exchanges may
therefore wait for as long as legitimate work of one process takes (writing a model, fitting a probe), which a
timeout could not distinguish from a process that is gone. A process whose machine lost power is noticed after
`SILENT_SECONDS` or, if it held the store, when TCP gives up (about 16 minutes).
"""

import contextlib
import threading
import time
from collections.abc import Iterator

from torch.distributed import PrefixStore, Store  # type: ignore[attr-defined]

from baton.errors import TrainingError
from baton.processes.alarm import Alarm

BEAT_SECONDS = 2.0
SILENT_SECONDS = 120.0  # a process may be swapped out, or hold the GIL for long
DONE, FAILED = "done", "failed"


class Pulse:
    """This process's heartbeat, and its watch over the others'."""

    def __init__(self, store: Store, rank: int, size: int, alarm: Alarm) -> None:
        """Send the first beat; `store` is shared by all `size` processes."""
        self.store = PrefixStore("pulse", store.clone())  # a connection not shared with another thread
        self.rank, self.keys, self.alarm = rank, [str(each) for each in range(size)], alarm
        self.ending = threading.Event()
        self.store.set(self.keys[rank], "0")

    @contextlib.contextmanager
    def beating(self) -> Iterator[None]:
        """Wrap the work, once all have sent their first beat; report an error to the others."""
        thread = threading.Thread(target=self._beat, name="pulse", daemon=True)
        thread.start()
        end = FAILED
        try:
            yield
            end = DONE
        finally:
            self.ending.set()
            thread.join(BEAT_SECONDS)
            with contextlib.suppress(RuntimeError):  # the process that held the store is gone
                self.store.set(self.keys[self.rank], end)

    def _beat(self) -> None:
        seen: dict[str, tuple[bytes, float]] = {}  # rank -> its last beat, and when it arrived
        count = 0
        while not self.ending.wait(BEAT_SECONDS):
            count += 1
            problem = self._exchange(seen, count)
            if problem is not None:
                if not self.ending.is_set():
                    self.alarm.ring(problem)
                return

    def _exchange(self, seen: dict[str, tuple[bytes, float]], count: int) -> TrainingError | None:
        """Send beat number `count` and note the others'; return the problem, if any."""
        try:
            self.store.set(self.keys[self.rank], str(count))
            signs = self.store.multi_get(self.keys)
        except RuntimeError as error:
            return _problem(None, str(error).splitlines()[0])
        now = time.monotonic()
        for rank, sign in zip(self.keys, signs, strict=True):
            if rank not in seen or seen[rank][0] != sign:
                seen[rank] = sign, now
        return _judged(seen, now)


def _judged(seen: dict[str, tuple[bytes, float]], now: float) -> TrainingError | None:
    """Return the problem of the first process that failed or is silent."""
    for rank, (sign, since) in seen.items():
        if sign == FAILED.encode():
            return _problem(rank, "an error")
        if sign != DONE.encode() and now - since > SILENT_SECONDS:
            return _problem(rank, f"no heartbeat for {now - since:.0f} s")
    return None


def _problem(rank: str | None, got: str) -> TrainingError:
    who = f"process {rank} of this training run" if rank else "the launcher of this training run"
    hint = (
        "see the error of that process, here or on its machine; SIGKILL without an error often means that "
        "the machine ran out of memory"
    )
    return TrainingError(
        f"{who} failed" if rank else f"{who} is gone", got=got, expected="a heartbeat", hint=hint
    )
