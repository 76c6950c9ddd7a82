"""Write checkpoints in a thread, one at a time, while training continues.

Training waits only for a copy in memory (`train.snapshot`). A thread is enough, since hashing, writing and
flushing release Python's lock.
"""

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from baton import console
from baton.processes import signals
from baton.processes.alarm import lost
from baton.train.snapshot import Snapshot


class BackgroundWrites:
    """The base class of checkpoints that a thread writes."""

    def __init__(self, snapshot: Snapshot) -> None:
        """`snapshot` holds the copies that are written."""
        self._snapshot = snapshot
        # The interpreter does not exit before this executor is done.
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._pending: Future[None] | None = None

    def wait(self) -> None:
        """Wait until no checkpoint is being written.

        A signal is handled after the write; if it ends training, the failure of the write is still pending.

        Raises:
            OutputError: the checkpoint could not be written.
        """
        if pending := self._pending:
            with signals.held():
                failure = pending.exception()
            self._pending = None
            if failure:
                raise failure

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Wrap a training run: however it ends, wait for the last write and free the copy's memory.

        Raises:
            OutputError: the last checkpoint could not be written. If training itself failed, its own error is
                raised, and this one is only printed.
        """
        try:
            yield
        except BaseException:
            self._settle()
            raise
        else:
            self.wait()
        finally:
            self._writer.shutdown()
            self._snapshot.free()

    def _start(self, write: Callable[..., None], *arguments: Any) -> None:
        """Let the thread write; nothing may be pending."""
        self._pending = self._writer.submit(write, *arguments)

    def _busy(self) -> bool:
        """Return whether the thread is still writing."""
        return self._pending is not None and not self._pending.done()

    def _settle(self, kind: type[Exception] = Exception) -> None:
        """Wait for the pending write; only print an error of this `kind`, as something else matters more."""
        try:
            self.wait()
        except kind as error:
            console.warn("checkpoint", (isinstance(error, RuntimeError) and lost(error)) or error)
