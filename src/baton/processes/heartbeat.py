"""Signs of life of processes that a launcher started, on whatever machine: one that is gone ends the others.

Each writes a number into their common store every few seconds, and reads those of the others. Exchanges may then wait as long as lawful
work of one process takes (writing a model, fitting a probe), which a time limit could not tell from a process that is gone. A process whose
machine lost its power is noticed after `SILENT_SECONDS`, or, where it held the store, when TCP gives up (about 16 minutes).
"""

import contextlib
import threading
import time
from collections.abc import Iterator

from torch.distributed import PrefixStore, Store  # type: ignore[attr-defined]

from baton.errors import TrainingError
from baton.processes.alarm import Alarm

BEAT_SECONDS = 2.0
SILENT_SECONDS = 120.0  # a process may be swapped out, or hold Python's lock for long
DONE, FAILED = "done", "failed"


class Pulse:
    """This process's signs of life, and its watch over the others'."""

    def __init__(self, store: Store, rank: int, size: int, alarm: Alarm) -> None:
        """The first sign; `store` is common to all `size` of them."""
        self.store = PrefixStore("pulse", store.clone())  # whose connection is no other thread's
        self.rank, self.keys, self.alarm = rank, [str(each) for each in range(size)], alarm
        self.ending = threading.Event()
        self.store.set(self.keys[rank], "0")

    @contextlib.contextmanager
    def beating(self) -> Iterator[None]:
        """Around the work, once all have given their first sign. An error is told to the others."""
        thread = threading.Thread(target=self._beat, name="pulse", daemon=True)
        thread.start()
        end = FAILED
        try:
            yield
            end = DONE
        finally:
            self.ending.set()
            thread.join(BEAT_SECONDS)
            with contextlib.suppress(RuntimeError):  # who held the store is gone
                self.store.set(self.keys[self.rank], end)

    def _beat(self) -> None:
        seen: dict[str, tuple[bytes, float]] = {}  # rank -> its last sign, and when it came
        count = 0
        while not self.ending.wait(BEAT_SECONDS):
            count += 1
            problem = self._told(seen, count)
            if problem is not None:
                if not self.ending.is_set():
                    self.alarm.ring(problem)
                return

    def _told(self, seen: dict[str, tuple[bytes, float]], count: int) -> TrainingError | None:
        """Give sign number `count`, and note those of the others; what is wrong."""
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
    """The first process that failed or is silent."""
    for rank, (sign, since) in seen.items():
        if sign == FAILED.encode():
            return _problem(rank, "an error")
        if sign != DONE.encode() and now - since > SILENT_SECONDS:
            return _problem(rank, f"no sign of life for {now - since:.0f} s")
    return None


def _problem(rank: str | None, got: str) -> TrainingError:
    who = f"process {rank} of this training" if rank else "the launcher of this training"
    hint = "see its own error, here or on its machine; SIGKILL without one often means that the machine ran out of memory"
    return TrainingError(
        f"{who} failed" if rank else f"{who} is gone", got=got, expected="a sign of life", hint=hint
    )
