"""An alarm: an error in another thread ends the main thread, wherever it is.

An exchange with a process that is gone fails by itself, Python code is interrupted (SIGUSR1), and a call that
hangs below Python is ended with `os._exit`.
"""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

import torch.distributed as dist

from baton.errors import TrainingError

NOTICE_SECONDS = 1.0  # from the end of a process to the failure of an exchange with it
EXIT_SECONDS = 5.0  # from the failure of an exchange to the news of the process that caused it
LEAVE_SECONDS = 20.0  # after the alarm, for a process to close its runs


class Alarm:
    """An alarm for a thread that watches other processes; `failure` is that of the first that failed."""

    def __init__(self, patience: float | None = None) -> None:
        """Start silent.

        Args:
            patience: seconds that a failed exchange waits for the news of its cause; None: `EXIT_SECONDS`.
        """
        self.patience = EXIT_SECONDS if patience is None else patience
        self.failure: TrainingError | None = None
        self.failed, self.leaving = threading.Event(), threading.Event()

    @contextlib.contextmanager
    def armed(self) -> Iterator[None]:
        """Wrap the main thread's work; a rung alarm or a failed exchange ends it with TrainingError."""
        before = signal.signal(signal.SIGUSR1, self._raise)
        try:
            yield
        except RuntimeError as error:
            if not (connection := lost(error)):
                raise
            # torchrun stops all processes when one fails; the reason to report is still that failure.
            with contextlib.suppress(SystemExit):
                self.failed.wait(self.patience)  # the failed exchange is only its consequence
            raise (self.failure or connection) from error
        finally:
            self.leaving.set()
            signal.signal(signal.SIGUSR1, before)

    def ring(self, failure: TrainingError) -> None:
        """End the main thread; called once, from another thread."""
        self.failure = failure
        self.failed.set()
        if self.leaving.wait(NOTICE_SECONDS):
            return
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
        if not self.leaving.wait(LEAVE_SECONDS):  # it hangs below Python
            os.write(2, f"error: {failure}\n".encode())
            os._exit(1)

    def _raise(self, _number: int, _frame: FrameType | None) -> None:
        if self.failure and sys.exception() is None:  # otherwise it is already on its way out
            raise self.failure


def lost(error: RuntimeError) -> TrainingError | None:
    """Return the error for a failed exchange between processes, or None if `error` is a different one.

    A failed exchange means that the peer is gone.
    """
    if "gloo/transport" not in str(error) and not isinstance(error, dist.DistError):
        return None
    got = str(error).splitlines()[0].partition(" This is typically caused")[0]
    hint = "see the error of that process, here or on its machine"
    return TrainingError("the connection to another process of this training run is lost", got=got, hint=hint)
