"""An error from another thread that ends the main thread, wherever that is.

An exchange with a process that is gone fails by itself, Python code is interrupted (SIGUSR1), and what hangs below Python is left with
`os._exit`.
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
LEAVE_SECONDS = 20.0  # in which a process closes its runs then


class Alarm:
    """Rung by a thread that watches others; `failure` is of the first that failed."""

    def __init__(self) -> None:
        """Silent."""
        self.failure: TrainingError | None = None
        self.failed, self.leaving = threading.Event(), threading.Event()

    @contextlib.contextmanager
    def armed(self) -> Iterator[None]:
        """Around the main thread's work, which ends with TrainingError where the alarm is rung or an exchange fails."""
        before = signal.signal(signal.SIGUSR1, self._raise)
        try:
            yield
        except RuntimeError as error:
            if not (connection := lost(error)):
                raise
            with contextlib.suppress(
                SystemExit
            ):  # torchrun asks all to stop where one fails; the reason is that failure all the same
                self.failed.wait(EXIT_SECONDS)  # that an exchange failed is only the consequence
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
        if self.failure and sys.exception() is None:  # else it is on its way out already
            raise self.failure


def lost(error: RuntimeError) -> TrainingError | None:
    """What it means that an exchange between processes fails: the other side is gone. None: the error is another one."""
    if "gloo/transport" not in str(error) and not isinstance(error, dist.DistError):
        return None
    got = str(error).splitlines()[0].partition(" This is typically caused")[0]
    hint = "see its own error, here or on its machine"
    return TrainingError("the connection to another process of this training is lost", got=got, hint=hint)
