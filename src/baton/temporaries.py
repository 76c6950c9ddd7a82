"""Temporary files and folders next to their target: made, locked while their process lives, swept, exchanged.

A temporary is called `.NAME.`, eight characters and `.baton`, and its process holds a lock (flock) on it,
which ends with the process. So what can be locked was left by a process that died, and the next write of the
same target, or `baton gc`, removes it.
"""

import contextlib
import ctypes
import errno
import fcntl
import functools
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ENDING = ".baton"
NAME = re.compile(r"\.(?P<target>.+)\.[a-z0-9_]{8}\.baton(?P<aside>-old)?", re.DOTALL)
ASIDE = "-old"  # of the old folder while the new one takes its name, where the two cannot be exchanged
NO_FLUSH = (errno.EINVAL, errno.ENOTSUP, errno.EBADF)  # what file systems answer that flush no folder
AT_WORKING_FOLDER, RENAME_EXCHANGE = -100, 2  # of renameat2(2)


@contextlib.contextmanager
def made(target: Path, folder: bool) -> Iterator[Path]:
    """Yield an empty temporary file or folder for `target`; sweep what earlier writes of it left.

    It is removed at the end, unless it was renamed.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    sweep(target)
    with contextlib.ExitStack() as stack:
        path, handle = _locked_new(target, folder)
        stack.callback(os.close, handle)
        stack.callback(remove, path)
        yield path


def _locked_new(target: Path, folder: bool) -> tuple[Path, int]:
    prefix = f".{target.name}."
    while True:
        if folder:
            path = Path(tempfile.mkdtemp(ENDING, prefix, target.parent))
            handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        else:
            handle, name = tempfile.mkstemp(ENDING, prefix, target.parent)
            path = Path(name)
        with contextlib.suppress(OSError):  # without locks, nothing is swept either
            fcntl.flock(handle, fcntl.LOCK_EX)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), path.lstat()):
                return path, handle
        os.close(handle)  # it was swept before it was locked


def sweep(target: Path) -> None:
    """Remove the temporaries of `target` whose process is gone; restore what was moved aside."""
    with contextlib.suppress(FileNotFoundError):
        for entry in list(os.scandir(target.parent)):
            found = NAME.fullmatch(entry.name)
            if found and found["target"] == target.name:
                take(Path(entry.path))


def take(path: Path) -> bool:
    """Remove a temporary, by its path, if its process is gone; return whether it was removed.

    A folder that was moved aside gets its name back if no other has it.
    """
    target = target_of(path)
    with unused(path) as free:
        if not free:
            return False
        if path.name.endswith(ASIDE) and not os.path.lexists(target):
            path.rename(target)
            return False
        remove(path)
        return True


def target_of(path: Path) -> Path:
    """Return the target of a temporary."""
    found = NAME.fullmatch(path.name)
    assert found, path
    return path.with_name(found["target"])


@contextlib.contextmanager
def unused(path: Path) -> Iterator[bool]:
    """Lock a temporary; yield False if its process lives, True also if it is gone."""
    try:
        handle = os.open(
            path.with_name(path.name.removesuffix(ASIDE)), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
        )
    except FileNotFoundError:
        yield True
        return
    except OSError:
        yield False
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # locked, or a file system without locks
        yield False
    else:
        yield True
    finally:
        os.close(handle)


def put(path: Path, target: Path) -> None:
    """Give a temporary folder its target's name, durably; the old one is removed after that.

    Until then either the old or the new folder is there, whole.

    Raises:
        NotADirectoryError: the target is no folder.
    """
    if os.path.lexists(target) and not target.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(target))
    for file in (file for file in path.rglob("*") if file.is_file() and not file.is_symlink()):
        flush(file)
    for folder in (path, *(folder for folder in path.rglob("*") if folder.is_dir())):
        flush(folder)
    aside = path.with_name(f"{path.name}{ASIDE}")
    if not os.path.lexists(target):
        path.replace(target)
    elif not _exchanged(path, target):
        target.rename(aside)
        path.replace(target)
    flush(target.parent)
    remove(aside)


def _exchanged(path: Path, other: Path) -> bool:
    """Let two paths change their names in one step (renameat2); False where there is no such step."""
    exchange = _renameat2()
    if exchange is None:
        return False
    here, there = os.fsencode(path), os.fsencode(other)
    return bool(exchange(AT_WORKING_FOLDER, here, AT_WORKING_FOLDER, there, RENAME_EXCHANGE) == 0)


@functools.cache
def _renameat2() -> Any:
    return getattr(ctypes.CDLL(None), "renameat2", None)


def flush(path: Path) -> None:
    """Flush a file's bytes, or a folder's names, to the disk, so that they survive a power cut.

    Some network file systems cannot flush a folder; there the names are as safe as the system makes them.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if not path.is_dir() or error.errno not in NO_FLUSH:
            raise
    finally:
        os.close(handle)


def remove(path: Path) -> None:
    """Remove a file or a whole folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
