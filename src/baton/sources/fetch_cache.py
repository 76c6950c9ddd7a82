"""The cache of fetched files, stored by sha256 outside DVC's outputs.

Nothing is fetched twice, and no partial file is mistaken for a complete one. Layout of the folder
(`$BATON_FETCHED`, or `.baton/fetched` of the project): `<sha256>` holds the bytes, `index/<key>.json` maps a
key to its digest. A download goes to a scratch folder next to them; only a verified file is renamed to its
digest, and only then is its key written.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

from rich.markup import escape

from baton import console, storage
from baton.errors import OutputError, SourceError

DELAYS = (1.0, 4.0, 15.0)  # seconds before the second, third and last attempt
POLL_SECONDS = 0.5
OUR_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR}


class BrokenTransferError(Exception):
    """A failed transfer that may succeed when it is retried; never leaves this package."""


def folder() -> Path:
    """Return the cache folder: `$BATON_FETCHED` or the project's own.

    With the variable, temporary copies and tests share the cache of the project.
    """
    return Path(os.environ.get("BATON_FETCHED") or storage.state("fetched")).resolve()


def obtain(key: str, fetch: Callable[[Path], Path], *, advice: str, sha256: str | None = None) -> Path:
    """Return the cached file of `key`; call `fetch` the first time, or if the cached file is damaged.

    Args:
        key: a description of the bytes, including everything that pins them (version, digest, revision).
        fetch: takes an empty scratch folder and returns the verified file in it. It raises
            BrokenTransferError for transient failures.
        advice: what the user can do if every attempt fails.
        sha256: the pinned digest, if the file has one: a cache that was copied here may hold another file.

    Raises:
        SourceError: every attempt failed.
        OutputError: the cache cannot be written.
    """
    with _explained(), _locked(key):
        kept = _recall(key, sha256)
        return kept if kept is not None else _keep(key, fetch, advice)


def _keep(key: str, fetch: Callable[[Path], Path], advice: str) -> Path:
    failure: Exception = BrokenTransferError("no attempt was made")
    for attempt, delay in enumerate((*DELAYS, 0.0), start=1):
        try:
            with _scratch(key) as scratch:
                return _remember(key, fetch(scratch))
        except BrokenTransferError as error:
            failure = error
            console.say(escape(f"{key}: attempt {attempt} of {len(DELAYS) + 1} failed: {error}"))
            time.sleep(delay)
    raise SourceError(
        f"{key} could not be fetched in {len(DELAYS) + 1} attempts",
        got=failure,
        expected="a complete transfer",
        hint=advice,
    ) from failure


def _recall(key: str, sha256: str | None) -> Path | None:
    index = _index(key)
    if not index.is_file():
        return None
    digest = str(storage.read_json(index)["sha256"])
    kept = folder() / digest
    if sha256 not in (None, digest):
        console.say(escape(f"{key}: the cached file is not the pinned one; fetching it again"))
        return None
    if kept.is_file() and storage.sha256(kept) == digest:
        return kept
    console.say(escape(f"{key}: the cached file is damaged or missing; fetching it again"))
    kept.unlink(missing_ok=True)
    return None


def _remember(key: str, path: Path) -> Path:
    digest = storage.sha256(path)
    kept = folder() / digest
    _sync(path)
    size = path.stat().st_size
    path.chmod(0o644)
    path.replace(kept)
    storage.write_json(_index(key), {"key": key, "sha256": digest, "bytes": size})
    return kept


def _sync(path: Path) -> None:
    # A rename can reach the disk before the bytes do; after a power cut the file would be all zeros.
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _index(key: str) -> Path:
    return folder() / "index" / f"{_name(key)}.json"


def _name(key: str) -> str:
    name = quote(key, safe=" @=+,")
    return name if len(name) <= 150 else f"{name[:100]}{hashlib.sha256(key.encode()).hexdigest()}"


@contextlib.contextmanager
def _scratch(key: str) -> Iterator[Path]:
    prefix = f".{hashlib.sha256(key.encode()).hexdigest()[:16]}."
    for left_by_a_kill in folder().glob(f"{prefix}*"):  # the lock is held, so no living process uses it
        shutil.rmtree(left_by_a_kill, ignore_errors=True)
    scratch = Path(tempfile.mkdtemp(dir=folder(), prefix=prefix))
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextlib.contextmanager
def _locked(key: str) -> Iterator[None]:
    """Let one process fetch a key; the others wait and then find it."""
    locks = folder() / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    with (locks / hashlib.sha256(key.encode()).hexdigest()[:16]).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            console.say(escape(f"{key}: another process is fetching it; waiting"))
            fcntl.flock(file, fcntl.LOCK_EX)
        yield  # closing the file releases the lock, and so does the end of the process


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in OUR_DISK:
            raise
        hint = (
            "free some space, fix the permissions, or set BATON_FETCHED to another folder; "
            "no partial files were left"
        )
        raise OutputError(
            f"{folder()} cannot be written", got=error.strerror, expected="a writable folder", hint=hint
        ) from error


@contextlib.contextmanager
def watched(scratch: Path, title: str, total: float | None) -> Iterator[None]:
    """Show a progress bar while a library fills `scratch`, based on the size of the folder.

    The size is the one measure that works for all libraries. `total` is in bytes.
    """
    megabyte = 1e6
    stop = threading.Event()
    with console.progress(title, total / megabyte if total else None, "MB") as advance:

        def poll() -> None:
            shown = 0.0
            while True:
                last = stop.wait(POLL_SECONDS)
                now = min(_bytes(scratch), total or float("inf"))
                advance(max(0.0, now - shown) / megabyte)
                shown = max(shown, now)
                if last:
                    return

        thread = threading.Thread(target=poll, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


def _bytes(scratch: Path) -> int:
    size = 0
    for path in scratch.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # renamed in the meantime
            size += path.stat().st_size if path.is_file() else 0
    return size
