"""How a stage ends: finished, failed, or killed by Ctrl-C or SIGTERM."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from baton.errors import BatonError, redacted

TERMINATED = 143  # 128 + SIGTERM, as a shell reports it
ERROR_LENGTH = 2000


@contextlib.contextmanager
def sigterm_raises() -> Iterator[None]:
    """Make SIGTERM raise SystemExit(143), so that runs are closed; restore the previous handler afterwards.

    Further SIGTERMs are ignored meanwhile.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handler(_number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise SystemExit(TERMINATED)

    before = signal.signal(signal.SIGTERM, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def status(error: BaseException) -> str:
    """Return MLflow's status of a run that ended with this error."""
    if isinstance(error, KeyboardInterrupt) or (
        isinstance(error, SystemExit) and error.code in (TERMINATED, 128 + signal.SIGINT)
    ):
        return "KILLED"
    return "FINISHED" if isinstance(error, SystemExit) and not error.code else "FAILED"


def described(error: BaseException) -> str:
    """Return the error's text for a run."""
    text = str(error) if isinstance(error, BatonError) else f"{type(error).__name__}: {error}"
    return redacted(text)[:ERROR_LENGTH]
