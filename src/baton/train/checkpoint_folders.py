"""Manage checkpoint folders on disk: flush files, write a manifest, rename, then remove older checkpoints.

Shared by `train.checkpoint`, which writes the tensors of one process, and `train.sharded_checkpoint`, which
writes those of several.
"""

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from baton.errors import OutputError

KEEP = 2
MANIFEST, STATE, HIDDEN = "manifest.json", "state.json", "."


def names(folder: Path) -> list[str]:
    """Return the names of the checkpoints in a folder, oldest first."""
    return sorted(path.name for path in folder.glob(f"[!{HIDDEN}]*") if path.is_dir())


def begin(target: Path) -> Path:
    """Create an empty folder for the checkpoint `target`; delete leftovers of killed saves and removals."""
    for stale in target.parent.glob(f"{HIDDEN}*"):
        shutil.rmtree(stale, ignore_errors=True)
    temporary = target.parent / f"{HIDDEN}{target.name}"
    temporary.mkdir(parents=True)
    return temporary


def end(temporary: Path, target: Path) -> None:
    """Turn a filled folder into the checkpoint `target`, durably; remove all but the newest `KEEP`."""
    flush(temporary)
    temporary.rename(target)
    for folder in (target.parent, target.parent.parent):
        flush(folder)
    for old in names(target.parent)[:-KEEP]:
        remove(target.parent, old)


def remove(folder: Path, name: str) -> None:
    """Remove a checkpoint; it is hidden first, so that a crash in between leaves no partial one behind."""
    hidden = folder / f"{HIDDEN}{name}"
    shutil.rmtree(hidden, ignore_errors=True)
    (folder / name).rename(hidden)
    shutil.rmtree(hidden)


def put(path: Path, content: Iterable[bytes | memoryview]) -> dict[str, object]:
    """Write a file piece by piece and flush it to disk; return its manifest entry."""
    digest, count = hashlib.sha256(), 0
    try:
        with path.open("wb") as file:
            for piece in content:
                digest.update(piece)
                count += file.write(piece)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        error.filename = error.filename or str(path)  # errors of write() do not name the file
        raise
    return {"sha256": digest.hexdigest(), "bytes": count}


def entry(path: Path) -> dict[str, object]:
    """Return the manifest entry of a file as it is on disk."""
    with path.open("rb") as file:
        return {"sha256": hashlib.file_digest(file, "sha256").hexdigest(), "bytes": path.stat().st_size}


def flush(folder: Path) -> None:
    """Flush a folder's entries (new files, a rename) so that they survive a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def explained(target: Path, wanted: int) -> Iterator[None]:
    """Explain errors while the checkpoint `target`, of `wanted` bytes, is written.

    Raises:
        OutputError: the disk is full, the folder cannot be written, or anything else failed (CUDA reports
            earlier failures late).
    """
    problem = f"the checkpoint {target} cannot be written"
    try:
        yield
    except OutputError:
        raise
    except OSError as error:
        what = f"{error.strerror}: {error.filename}" if error.filename else str(error.strerror)
        hint = (
            "free some space or fix the permissions, then run again; "
            "training resumes from the previous checkpoint"
        )
        raise OutputError(
            problem, got=f"{what}; {_free(target.parent)}", expected=f"room for {wanted:,} bytes", hint=hint
        ) from error
    except Exception as error:
        got = f"{type(error).__name__}: {(str(error).strip() or 'no message').splitlines()[0]}"
        raise OutputError(
            problem, got=got, hint="run again; training resumes from the previous checkpoint"
        ) from error


def _free(folder: Path) -> str:
    """Describe the free space of the disk of `folder`, or of its nearest parent that exists."""
    for place in (folder, *folder.parents):
        with contextlib.suppress(OSError):
            return f"{shutil.disk_usage(place).free:,} bytes are free"
    return "the free space is unknown"
