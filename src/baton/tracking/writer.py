"""Writing a journal: one process appends to it, and the holder of its lock may remove it."""

import contextlib
import json
import os
import secrets
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from baton import storage
from baton.errors import TrackingError
from baton.processes import locks
from baton.processes.identity import Process
from baton.tracking.journal import ENTRIES, GONE, Journal, now, parsed

LINK_BYTES = 1 << 20  # smaller files are copied: an editor may rewrite them in place
WRITER_SECONDS, LOOK_SECONDS = 0.5, 0.2  # how long an inspecting process may hold a journal's lock
# The kind comes first, so that these lines are found without parsing the others.
OPEN, CLOSE = b'{"kind":"open"', b'{"kind":"close"'


class Writer:
    """The one process that appends to a journal. Threads may share it."""

    def __init__(self, journal: Journal, handle: int) -> None:
        """Truncate a torn last line; `handle` is the locked file."""
        self.journal = journal
        self._handle = handle
        self._guard = threading.RLock()
        self._unwritten = b""
        if (whole := _whole(handle)) < os.fstat(handle).st_size:
            os.ftruncate(handle, whole)

    def append(self, kind: str, **values: Any) -> None:
        """Write an entry.

        Raises:
            OSError: the disk refused. The entry is written with the next one.
        """
        line = json.dumps({"kind": kind, **values}, separators=(",", ":"), default=str).encode() + b"\n"
        with self._guard:
            self._unwritten += line
            size = os.fstat(self._handle).st_size
            written = os.write(self._handle, self._unwritten)
            if written < len(self._unwritten):
                os.ftruncate(self._handle, size)
                raise OSError("the disk is full")
            self._unwritten = b""

    def keep(self, path: Path, copy: bool = True) -> str:
        """Keep a file or folder as it is now; return its name for `Journal.file`.

        Return nothing if a large file cannot be linked and `copy` is False.
        """
        name = f"{secrets.token_hex(4)}/{path.name}"
        target = self.journal.file(name)
        for source in sorted(item for item in path.rglob("*") if item.is_file()) if path.is_dir() else [path]:
            if not _keep(source, target / source.relative_to(path), copy):
                return ""
        return name

    def close(self) -> None:
        """Release the journal; nothing is appended after it."""
        with self._guard:
            if self._handle >= 0:
                locks.give(self._handle)
                self._handle = -1


def new_id() -> str:
    """Return a new id; ids sort by time."""
    moment = now()
    second = time.strftime("%Y%m%d-%H%M%S", time.gmtime(moment // 1000))
    return f"{second}-{moment % 1000:03}-{secrets.token_hex(4)}"


def write(name: str) -> Writer:
    """Open a journal to append to it, creating it if missing.

    Raises:
        TrackingError: another process is writing it.
    """
    journal = Journal(storage.state("journal") / name)
    deadline = time.monotonic() + WRITER_SECONDS
    while True:
        journal.folder.mkdir(parents=True, exist_ok=True)
        handle = locks.take(journal.folder / ENTRIES)
        if handle is not None:
            return Writer(journal, handle)
        if time.monotonic() > deadline:
            raise TrackingError(
                f"the journal {name} is being written",
                got="another process",
                expected="none",
                hint="end that stage first",
            )
        time.sleep(0.02)


def abandoned(journal: Journal) -> bool:
    """Return whether the journal exists and no stage writes it.

    A journal whose stage was killed is closed here, at the time of its last entry.
    """
    with _grabbed(journal) as writer:
        if writer is None:
            return False
        opened, ended = b"", True
        for line, _ in journal.lines(0):
            if line.startswith(OPEN):
                opened, ended = line, False
            elif line.startswith(CLOSE):
                ended = True
        if not ended and Process(*parsed(opened).get("process", ("", 0.0))).ended():
            moment = int((journal.folder / ENTRIES).stat().st_mtime * 1000)
            writer.append("close", time=moment, status="KILLED", seconds=None, error=GONE)
        return True


def clear(journal: Journal, keep: float) -> None:
    """Remove a delivered journal; one of an unfinished stage, which may be resumed, after `keep` seconds.

    They count from its last entry.
    """
    with _grabbed(journal) as writer:
        if writer and not journal.waiting():
            status = (journal.folder / ENTRIES).stat()
            old = time.time() - status.st_mtime > keep
            if old or not status.st_size or journal.cursor().status == "FINISHED":
                journal.remove()


@contextlib.contextmanager
def _grabbed(journal: Journal) -> Iterator[Writer | None]:
    """Yield the journal's writer for a moment; None if the journal is gone or its stage is running."""
    deadline = time.monotonic() + LOOK_SECONDS
    while (
        (handle := locks.take(journal.folder / ENTRIES)) is None
        and journal.folder.is_dir()
        and time.monotonic() < deadline
    ):
        time.sleep(0.02)
    if handle is None:
        yield None
        return
    with contextlib.closing(Writer(journal, handle)) as writer:
        yield writer


def _whole(handle: int) -> int:
    """Return the length of a file without a torn last line."""
    size = os.fstat(handle).st_size
    end = size
    while end:
        start = max(0, end - 65536)
        newline = os.pread(handle, end - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0


def _keep(source: Path, target: Path, copy: bool) -> bool:
    target.parent.mkdir(parents=True, exist_ok=True)
    real = source.resolve()  # DVC's outputs may be symbolic links
    small = real.stat().st_size < LINK_BYTES
    if not small:
        with contextlib.suppress(OSError):  # another file system, or one without links
            os.link(real, target)
            return True
    if small or copy:
        shutil.copyfile(real, target)
    return small or copy
