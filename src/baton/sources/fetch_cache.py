"""The cache of fetched files, stored by sha256 outside DVC's outputs.

Nothing is fetched twice, and no partial file is mistaken for a complete one. The folder (`$BATON_FETCHED`, or
`.baton/fetched` of the project) may be shared and is not trusted: the bytes in `<sha256>` are compared with
that digest each time. Which digest is wanted is in params; for what has none there (files of the Hub, known
by their commit), it is in the project's own `.baton/fetched/index/<key>.json`, never in a shared folder. A
download goes to a scratch folder next to the files; only a verified file is renamed to its digest, and only
then is its key written.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

from rich.markup import escape

from baton import console, storage
from baton.errors import OutputError, SourceError

DELAYS = (1.0, 4.0, 15.0)  # seconds before the second, third and last attempt
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
        sha256: the pinned digest, if the file has one.

    Raises:
        SourceError: every attempt failed, or what was fetched is not the pinned file.
        OutputError: the cache cannot be written.
    """
    with _explained(), _locked(key):
        digest = sha256 or _indexed(key)
        kept = known(digest) if digest else None
        return kept if kept is not None else _keep(key, fetch, advice, sha256)


def known(sha256: str) -> Path | None:
    """Return the file of this digest if the cache has it; what else is in its place is removed.

    Raises:
        OutputError: it cannot be removed.
    """
    kept = folder() / sha256
    if not os.path.lexists(kept):
        return None
    with _explained():
        if kept.is_file():
            if storage.sha256(kept) == sha256:
                return kept
            console.say(f"the cached file {sha256} is damaged; fetching it again")
        if kept.is_dir() and not kept.is_symlink():
            shutil.rmtree(kept)
        else:
            kept.unlink()
    return None


def _keep(key: str, fetch: Callable[[Path], Path], advice: str, sha256: str | None) -> Path:
    failure: Exception = BrokenTransferError("no attempt was made")
    for attempt, delay in enumerate((*DELAYS, 0.0), start=1):
        try:
            with _scratch(key) as scratch:
                return _remember(key, fetch(scratch), sha256)
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


def _indexed(key: str) -> str | None:
    """Return the digest that the project knows for a key; None if it knows none."""
    path = _index(key)
    if not path.is_file():
        return None
    try:
        digest = storage.read_json(path)["sha256"]
        if re.fullmatch(r"[0-9a-f]{64}", digest):
            return str(digest)
    except (ValueError, TypeError, LookupError, RecursionError):
        pass  # not JSON, or another layout
    console.say(escape(f"{key}: its entry in the index is damaged; fetching it again"))
    return None


def _remember(key: str, path: Path, sha256: str | None) -> Path:
    digest = storage.sha256(path)
    if sha256 not in (None, digest):
        raise SourceError(
            f"{key} has a different sha256",
            got=digest,
            expected=sha256,
            hint="find out which file it is before you pin the new digest",
        )
    kept = folder() / digest
    _sync(path)
    size = path.stat().st_size
    with contextlib.suppress(PermissionError):  # a link to another user's file
        path.chmod(0o644)
    known(digest)  # removes what else may be there
    path.replace(kept)
    storage.write_json(_index(key), {"key": key, "sha256": digest, "bytes": size})
    return kept


def _sync(path: Path) -> None:
    # A rename can reach the disk before the bytes do; after a power cut the file would be all zeros.
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _index(key: str) -> Path:
    return storage.state("fetched") / "index" / f"{_name(key)}.json"


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
