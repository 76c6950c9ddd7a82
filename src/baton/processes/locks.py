"""Locks between processes, on files (flock): a lock ends with the process that holds it."""

import contextlib
import fcntl
import functools
import os
import time
from collections.abc import Iterator
from pathlib import Path

from baton import storage
from baton.errors import OutputError, TrackingError

LOCK_SECONDS = 60.0

_held: set[int] = set()


def take(path: Path, wait: bool = False) -> int | None:
    """Lock a file, creating it if its folder exists; return its descriptor (read and append), or None.

    Args:
        path: the file. None is also returned if its folder is missing, or was removed while waiting.
        wait: block until the lock is released.
    """
    _watch_forks()
    try:
        handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        if os.path.samestat(os.fstat(handle), path.stat()):
            _held.add(handle)
            return handle
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(handle)
    return None


def give(handle: int) -> None:
    """Release a lock that `take` acquired."""
    _held.discard(handle)
    os.close(handle)


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """Exclude this project's other processes.

    Raises:
        TrackingError: another process holds the lock for more than a minute.
    """
    path = storage.state("runs") / f"{name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + LOCK_SECONDS
    while (handle := take(path)) is None:
        if time.monotonic() > deadline:
            hint = "another stage hangs; stop it"
            raise TrackingError(f"{path} stays locked", got=f"{LOCK_SECONDS:.0f} s of waiting", hint=hint)
        time.sleep(0.05)
    try:
        yield
    finally:
        give(handle)


@contextlib.contextmanager
def alone(path: Path, work: str) -> Iterator[None]:
    """Refuse a second process that does the same work.

    Args:
        path: the file to lock, which is created; it names the process.
        work: what the other one does, for the error: "comparison runs in this project".

    Raises:
        OutputError: another process does it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = take(path)
    if handle is None:
        raise OutputError(
            f"another {work}",
            got=path.read_text(encoding="utf-8") or "another process",
            expected="one at a time",
            hint="wait for it, or stop it",
        )
    try:
        os.ftruncate(handle, 0)
        os.write(handle, f"process {os.getpid()}".encode())
        yield
    finally:
        give(handle)


@functools.cache
def _watch_forks() -> None:
    os.register_at_fork(after_in_child=_forget)


def _forget() -> None:
    """Close the locks that a forked child (a data-loader worker) shares.

    It would keep them when its parent dies.
    """
    for handle in _held:
        os.close(handle)
    _held.clear()
