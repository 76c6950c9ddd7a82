"""The processes that rank 0 starts: watched, so that one that fails ends all, with its error.

Input: an environment for each. A failure reaches the main thread as TrainingError whatever that is doing (see `alarm`).
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

from baton import console
from baton.errors import TrainingError
from baton.processes.alarm import Alarm

START_SECONDS = 300.0  # until all ranks have imported what they need
END_SECONDS = 60.0  # from the end of rank 0's work to that of the others
POLL_SECONDS = 0.1


class Ranks:
    """Processes that rank 0 has started; rank 1 comes first."""

    def __init__(self, environments: list[dict[str, int | str]]) -> None:
        """Start this process's command once more for each environment."""
        environs = ({name: str(value) for name, value in environment.items()} for environment in environments)
        self.processes = [subprocess.Popen(command(), env=os.environ | environ) for environ in environs]
        self.alarm = Alarm()

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """A rank that fails raises TrainingError in the main thread; none is left at the end."""
        try:
            with self.alarm.armed():
                threading.Thread(target=self._watch, name="ranks", daemon=True).start()
                yield
        finally:
            self._end()

    def meet(self, present: Callable[[list[str]], bool]) -> None:
        """Wait until all are there; one that failed before raises."""
        until = time.monotonic() + START_SECONDS
        while not present([str(rank) for rank in range(1, len(self.processes) + 1)]):
            if self.alarm.failure:
                raise self.alarm.failure
            if time.monotonic() > until:
                raise TrainingError(
                    "the processes of this training do not start", got=f"nothing after {START_SECONDS:.0f} s"
                )
            time.sleep(POLL_SECONDS)

    def part(self) -> None:
        """Wait until all have ended by themselves. The work is done: one that does not end well is told of, and fails nothing."""
        self.alarm.leaving.set()
        for rank, each in enumerate(self.processes, start=1):
            with contextlib.suppress(subprocess.TimeoutExpired):
                if each.wait(END_SECONDS) == 0:
                    continue
            console.warn("processes", f"process {rank} of this training did not end well; its work was done")

    def _watch(self) -> None:
        while not self.alarm.leaving.wait(POLL_SECONDS):
            for rank, each in enumerate(self.processes, start=1):
                if code := each.poll():
                    self._end()
                    self.alarm.ring(_failure(rank, code))
                    return

    def _end(self) -> None:
        for each in self.processes:
            each.kill()
            each.wait()


def _failure(rank: int, code: int) -> TrainingError:
    got = f"exit code {code}" if code > 0 else f"signal {signal.Signals(-code).name}"
    hint = "see its own error above; SIGKILL without one often means that the machine ran out of memory"
    return TrainingError(
        f"process {rank} of this training failed", got=got, expected="exit code 0", hint=hint
    )


def command() -> list[str]:
    """This process's own, to start it once more."""
    return [sys.executable, *sys.orig_argv[1:]]
