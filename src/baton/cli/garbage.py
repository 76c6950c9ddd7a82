"""`baton gc`: remove what killed processes left in the project, and name what waits for a server.

What a living process uses is locked, and stays. Outputs, DVC's cache and MLflow's store are not touched.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from rich.markup import escape

from baton import console, storage, temporaries
from baton.processes import locks
from baton.sources import fetch_cache
from baton.tracking import journal, writer
from baton.tracking.journal import Journal

DAY = 86_400.0
OWN_STORE = "null"  # the address of the project's own store, as in params
SKIPPED = {".git", ".venv", "cache", "inbox", "mlartifacts"}  # not ours, or too large to walk through
# What may be removed, in a word, and a lock that yields whether nobody uses it.
Found = Iterator[tuple[Path, str, AbstractContextManager[bool]]]


def collect(days: float, abandon: str | None, dry: bool) -> int:
    """Remove leftovers, or only list them if `dry`; return their bytes.

    Args:
        days: interrupted training runs, and the delivered journals of unfinished stages, are kept as long.
        abandon: the address of an MLflow server that will not come back (`null`: the project's own store);
            the journals that wait for it are removed, and what they recorded is lost.
        dry: remove nothing.
    """
    freed = 0
    for found in (_temporaries(dry), _scratch(), _rehearsals(), _journals(abandon), _checkpoints(days)):
        for path, what, lock in found:
            with lock as free:
                if free and os.path.lexists(path):
                    size = _size(path)
                    console.say(escape(f"{what}: {path} ({_megabytes(size)})"))
                    freed += size
                    if not dry:
                        temporaries.remove(path)
    if not dry:
        for one in journal.left():
            writer.clear(one, days * DAY)
    console.say(f"gc: {_megabytes(freed)} {'would be' if dry else 'were'} freed")
    return freed


def _temporaries(dry: bool) -> Found:
    """Find the temporaries of writes; give an old folder that was moved aside its name back."""
    for where, folders, files in os.walk(storage.project()):
        named = [name for name in (*folders, *files) if temporaries.NAME.fullmatch(name)]
        folders[:] = [name for name in folders if name not in SKIPPED and name not in named]
        for path in (Path(where, name) for name in named):
            if path.name.endswith(temporaries.ASIDE) and not os.path.lexists(temporaries.target_of(path)):
                if not dry:
                    temporaries.take(path)
            else:
                yield path, "half-written", temporaries.unused(path)


def _scratch() -> Found:
    """Find half-fetched files; the lock of their key is held while it is fetched."""
    cache = fetch_cache.folder()
    for path in cache.glob(".*.*"):
        key = path.name.split(".")[1]
        if path.is_dir() and len(key) == 16:
            yield path, "half-fetched", _flocked(cache / "locks" / key)


def _rehearsals() -> Found:
    """Find the scratch folders of `baton estimate`, of which one may run."""
    parent = storage.state("estimate")
    for path in parent.glob("rehearsal-*"):
        yield path, "rehearsal", _flocked(parent / "lock")


def _checkpoints(days: float) -> Found:
    """Find training runs that were interrupted long ago; a running one has its folder locked."""
    for path in storage.state("checkpoints").glob("*/*"):
        newest = max((own.lstat().st_mtime for own in path.rglob("*")), default=0.0)
        if path.is_dir() and time.time() - newest > days * DAY:
            yield path, "interrupted training run", _flocked(path)


def _journals(abandon: str | None) -> Found:
    """Find journals that are half removed, or wait for an abandoned server; say how much others keep."""
    for path in storage.state("journal").glob(".*"):
        yield path, "half-removed journal", contextlib.nullcontext(True)
    kept: dict[str, list[Journal]] = {}
    for one in journal.left():
        if one.waiting():
            kept.setdefault(_address(one), []).append(one)
    for address, some in kept.items():
        if address == abandon:
            for one in some:
                yield one.folder, "abandoned journal", _unwritten(one)
        else:
            size = _megabytes(sum(_size(one.folder) for one in some))
            console.say(
                escape(
                    f"{len(some)} journals wait for the MLflow store {address} and keep {size}: `baton sync` "
                    f"delivers them; `baton gc --abandon {address}` removes them if it never comes back"
                )
            )


def _address(one: Journal) -> str:
    """Return the address of a journal's store as params give it."""
    first = one.cursor().store or next(
        (entry["store"] for entry, _ in one.entries() if entry["kind"] == "open"), {}
    )
    return str(first.get("uri") or OWN_STORE)


@contextlib.contextmanager
def _unwritten(one: Journal) -> Iterator[bool]:
    """Hold the lock of a journal's writer; yield False if a stage writes it."""
    handle = locks.take(one.folder / journal.ENTRIES)
    try:
        yield handle is not None
    finally:
        if handle is not None:
            locks.give(handle)


@contextlib.contextmanager
def _flocked(path: Path) -> Iterator[bool]:
    """Lock a file or folder; yield False if another process has it."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        yield True
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
    else:
        yield True
    finally:
        os.close(handle)


def _size(path: Path) -> int:
    """Return the bytes that would be free: those of files that have no other name."""
    files = path.rglob("*") if path.is_dir() and not path.is_symlink() else (path,)
    found = (own.lstat() for own in files if own.is_symlink() or own.is_file())
    return sum(own.st_size for own in found if own.st_nlink == 1)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
