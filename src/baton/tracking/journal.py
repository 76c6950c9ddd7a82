"""The journal: a stage's records, on this machine's disk before anything else. Without mlflow.

Input: the entries of a run. Output: a folder, `.baton/journal/ID/`, which `delivery` sends to MLflow:

    entries.jsonl    one entry per line, only ever appended; its writer holds its lock
    files/           the files that entries refer to, as they were: hard links (copies of small
                     files), since DVC removes and replaces outputs
    cursor.json      how much was delivered; the process that delivers holds `delivery.lock`

An entry is on its way to the disk when `append` returns, so a killed process loses none. A torn last line
(the machine crashed) does not count.
"""

import contextlib
import json
import secrets
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from baton import storage
from baton.processes import locks

Entry = dict[str, Any]

GONE = "its process is gone: killed, or the machine went down"
ENTRIES, CURSOR, LOCK, FILES = "entries.jsonl", "cursor.json", "delivery.lock", "files"


def now() -> int:
    """Return milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def parsed(line: bytes) -> Entry:
    """Return the entry of a line; of the kind `broken` if it is not an entry."""
    try:
        entry = json.loads(line)
    except ValueError:
        entry = None
    return entry if isinstance(entry, dict) and "kind" in entry else {"kind": "broken"}


@dataclass
class Cursor:
    """How far a journal was delivered, and what later entries need to know about that."""

    offset: int = 0  # bytes of entries.jsonl
    status: str = ""  # of the last `close`; empty after an `open`
    store: dict[str, Any] = field(default_factory=dict)  # the destination: uri, experiment, description
    run: str = ""
    pipeline: str = ""
    models: dict[str, str] = field(default_factory=dict)  # name -> id
    datasets: dict[str, str] = field(default_factory=dict)  # name -> digest
    finals: dict[str, list[Any]] = field(default_factory=dict)  # key -> value, time


class Journal:
    """A journal to read and deliver."""

    def __init__(self, folder: Path) -> None:
        """`folder` may be missing."""
        self.folder = folder
        self.id = folder.name

    def entries(self, start: int = 0) -> Iterator[tuple[Entry, int]]:
        """Yield entries from a byte position on, each with the position after it.

        A line that is not an entry has the kind `broken`.
        """
        for line, end in self.lines(start):
            yield parsed(line), end

    def waiting(self) -> int:
        """Return the number of undelivered entries."""
        return sum(1 for _ in self.lines(self.cursor().offset))

    def cursor(self) -> Cursor:
        """Return the cursor; a new one if the file is unreadable, since delivering again is harmless."""
        try:
            return Cursor(**storage.read_state(self.folder / CURSOR))
        except (OSError, TypeError):
            return Cursor()

    def save(self, cursor: Cursor) -> None:
        """Save the cursor; it need not survive a power cut, since delivering again is harmless."""
        storage.write_json(self.folder / CURSOR, asdict(cursor), durable=False)

    def file(self, name: str) -> Path:
        """Return a kept file or folder, by the name that `writer.Writer.keep` gave it."""
        return self.folder / FILES / name

    @contextlib.contextmanager
    def delivering(self) -> Iterator[bool]:
        """Hold the delivery lock, waiting for its holder; yield False if the journal is gone by then."""
        handle = locks.take(self.folder / LOCK, wait=True)
        try:
            yield handle is not None
        finally:
            if handle is not None:
                locks.give(handle)

    def remove(self) -> None:
        """Remove the journal at once, so that no part of it is mistaken for a journal.

        The writer's lock must be held.
        """
        with contextlib.suppress(FileNotFoundError):
            gone = self.folder.rename(self.folder.with_name(f".{self.id}.{secrets.token_hex(4)}"))
            shutil.rmtree(gone, ignore_errors=True)

    def lines(self, start: int) -> Iterator[tuple[bytes, int]]:
        """Yield whole lines, each with the position after it."""
        with contextlib.suppress(FileNotFoundError), (self.folder / ENTRIES).open("rb") as file:
            file.seek(start)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                start += len(line)
                yield line, start


def left() -> list[Journal]:
    """Return all journals, the oldest first."""
    folder = storage.state("journal")
    return (
        [Journal(path) for path in sorted(folder.glob("[!.]*")) if path.is_dir()] if folder.is_dir() else []
    )
