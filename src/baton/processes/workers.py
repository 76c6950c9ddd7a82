"""The processes that rank 0 starts: watched, so that a failure of one ends all, with its error.

Input: one environment per process. A failure reaches the main thread as TrainingError, whatever that thread
is doing (see `alarm`).
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
END_SECONDS = 60.0  # from the end of rank 0's work, or of an exchange with it, to the end of the others
POLL_SECONDS = 0.1


class Ranks:
    """The processes that rank 0 has started, from rank 1 on."""

    def __init__(self, environments: list[dict[str, int | str]]) -> None:
        """Start this process's command again for each environment."""
        environs = ({name: str(value) for name, value in environment.items()} for environment in environments)
        self.processes = [subprocess.Popen(command(), env=os.environ | environ) for environ in environs]
        # A rank that failed has lost its connections, but Python may take long to end it.
        self.alarm = Alarm(END_SECONDS)

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Raise TrainingError in the main thread if a rank fails; leave no process running at the end."""
        try:
            with self.alarm.armed():
                threading.Thread(target=self._watch, name="ranks", daemon=True).start()
                yield
        finally:
            self._end()

    def meet(self, present: Callable[[list[str]], bool]) -> None:
        """Wait until all are present; raise the error of one that failed before."""
        until = time.monotonic() + START_SECONDS
        while not present([str(rank) for rank in range(1, len(self.processes) + 1)]):
            if self.alarm.failure:
                raise self.alarm.failure
            if time.monotonic() > until:
                raise TrainingError(
                    "the processes of this training run did not start",
                    got=f"nothing after {START_SECONDS:.0f} s",
                )
            time.sleep(POLL_SECONDS)

    def part(self) -> None:
        """Wait until all have ended by themselves.

        The work is done, so a process that ends badly only causes a warning.
        """
        self.alarm.leaving.set()
        for rank, each in enumerate(self.processes, start=1):
            with contextlib.suppress(subprocess.TimeoutExpired):
                if each.wait(END_SECONDS) == 0:
                    continue
            console.warn(
                "processes", f"process {rank} of this training run ended badly after its work was done"
            )

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
    hint = "see its error above; SIGKILL without an error often means that the machine ran out of memory"
    return TrainingError(
        f"process {rank} of this training run failed", got=got, expected="exit code 0", hint=hint
    )


def command() -> list[str]:
    """Return this process's own command, to start it again."""
    return [sys.executable, *sys.orig_argv[1:]]
