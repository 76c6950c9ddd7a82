"""The processes that rank 0 starts: watched, so that one that fails ends all, with its error.

Input: an environment for each. A failure reaches the main thread as TrainingError whatever that is doing: an exchange with a rank that is
gone fails by itself, Python code is interrupted (SIGUSR1), and what hangs below Python is left with `os._exit`.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

import torch.distributed as dist

from baton import console
from baton.errors import TrainingError

START_SECONDS = 300.0  # until all ranks have imported what they need
END_SECONDS = 60.0  # from the end of rank 0's work to that of the others
POLL_SECONDS = 0.1
NOTICE_SECONDS = 1.0  # from the end of a process to the failure of an exchange with it
EXIT_SECONDS = 5.0  # from the failure of an exchange to the end of the process that caused it
LEAVE_SECONDS = 20.0  # in which it closes its runs then


class Ranks:
    """Processes that rank 0 has started; rank 1 comes first."""

    def __init__(self, environments: list[dict[str, int | str]]) -> None:
        """Start this process's command once more for each environment."""
        command = [sys.executable, *sys.orig_argv[1:]]
        environs = ({name: str(value) for name, value in environment.items()} for environment in environments)
        self.processes = [subprocess.Popen(command, env=os.environ | environ) for environ in environs]
        self.failure: TrainingError | None = None  # of the first that failed
        self.failed, self.leaving = threading.Event(), threading.Event()

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """A rank that fails raises TrainingError in the main thread; none is left at the end."""
        before = signal.signal(signal.SIGUSR1, self._raise)
        threading.Thread(target=self._watch, name="ranks", daemon=True).start()
        try:
            yield
        except RuntimeError as error:
            if not (connection := lost(error)):
                raise
            self.failed.wait(EXIT_SECONDS)  # that an exchange failed is only the consequence
            raise (self.failure or connection) from error
        finally:
            self.leaving.set()
            self._end()
            signal.signal(signal.SIGUSR1, before)

    def meet(self, present: Callable[[list[str]], bool]) -> None:
        """Wait until all are there; one that failed before raises."""
        until = time.monotonic() + START_SECONDS
        while not present([str(rank) for rank in range(1, len(self.processes) + 1)]):
            if self.failure:
                raise self.failure
            if time.monotonic() > until:
                raise TrainingError("the processes of this training do not start", got=f"nothing after {START_SECONDS:.0f} s")
            time.sleep(POLL_SECONDS)

    def part(self) -> None:
        """Wait until all have ended by themselves. The work is done: one that does not end well is told of, and fails nothing."""
        self.leaving.set()
        for rank, each in enumerate(self.processes, start=1):
            with contextlib.suppress(subprocess.TimeoutExpired):
                if each.wait(END_SECONDS) == 0:
                    continue
            console.say(f"[yellow]processes:[/] process {rank} of this training did not end well; its work was done")

    def _watch(self) -> None:
        while not self.leaving.wait(POLL_SECONDS):
            for rank, each in enumerate(self.processes, start=1):
                if code := each.poll():
                    self.failure = _failure(rank, code)
                    self.failed.set()
                    self._end()
                    self._stop(self.failure)
                    return

    def _stop(self, failure: TrainingError) -> None:
        """End the main thread, wherever it is."""
        if self.leaving.wait(NOTICE_SECONDS):
            return
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
        if not self.leaving.wait(LEAVE_SECONDS):  # it hangs below Python
            os.write(2, f"error: {failure}\n".encode())
            os._exit(1)

    def _raise(self, _number: int, _frame: FrameType | None) -> None:
        if self.failure and sys.exception() is None:  # else it is on its way out already
            raise self.failure

    def _end(self) -> None:
        for each in self.processes:
            each.kill()
            each.wait()


def _failure(rank: int, code: int) -> TrainingError:
    got = f"exit code {code}" if code > 0 else f"signal {signal.Signals(-code).name}"
    hint = "see its own error above; SIGKILL without one often means that the machine ran out of memory"
    return TrainingError(f"process {rank} of this training failed", got=got, expected="exit code 0", hint=hint)


def lost(error: RuntimeError) -> TrainingError | None:
    """What it means that an exchange between processes fails: the other side is gone. None: the error is another one."""
    if "gloo/transport" not in str(error) and not isinstance(error, dist.DistError):
        return None
    got = str(error).splitlines()[0].partition(" This is typically caused")[0]
    hint = "see its own error, here or on its machine"
    return TrainingError("the connection to another process of this training is lost", got=got, hint=hint)
