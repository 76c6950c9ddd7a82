"""Folders of checkpoints on the disk: files that are flushed, a manifest, a rename; then older ones go.

What `train.checkpoint` and `train.sharded_checkpoint` share: one of them writes tensors of one process, the other those of many.
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
    """Of the checkpoints in it, the oldest first."""
    return sorted(path.name for path in folder.glob(f"[!{HIDDEN}]*") if path.is_dir())


def begin(target: Path) -> Path:
    """An empty folder to be filled for the checkpoint `target`; what a save or a removal that was killed left goes."""
    for stale in target.parent.glob(f"{HIDDEN}*"):
        shutil.rmtree(stale, ignore_errors=True)
    temporary = target.parent / f"{HIDDEN}{target.name}"
    temporary.mkdir(parents=True)
    return temporary


def end(temporary: Path, target: Path) -> None:
    """Let a filled folder become the checkpoint `target`, and outlast a power cut; older ones go, but `KEEP` stay."""
    flush(temporary)
    temporary.rename(target)
    for folder in (target.parent, target.parent.parent):
        flush(folder)
    for old in names(target.parent)[:-KEEP]:
        remove(target.parent, old)


def remove(folder: Path, name: str) -> None:
    """A checkpoint: first it is hidden, so that a crash in between leaves no half one behind."""
    hidden = folder / f"{HIDDEN}{name}"
    shutil.rmtree(hidden, ignore_errors=True)
    (folder / name).rename(hidden)
    shutil.rmtree(hidden)


def put(path: Path, content: Iterable[bytes | memoryview]) -> dict[str, object]:
    """Write the pieces of a file, and flush it to the disk; its entry of the manifest."""
    digest, count = hashlib.sha256(), 0
    try:
        with path.open("wb") as file:
            for piece in content:
                digest.update(piece)
                count += file.write(piece)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        error.filename = error.filename or str(path)  # writing does not tell
        raise
    return {"sha256": digest.hexdigest(), "bytes": count}


def entry(path: Path) -> dict[str, object]:
    """What the manifest says of a file, as it is on the disk."""
    with path.open("rb") as file:
        return {"sha256": hashlib.file_digest(file, "sha256").hexdigest(), "bytes": path.stat().st_size}


def flush(folder: Path) -> None:
    """Make a folder's own entries (new files, a rename) outlast a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def explained(target: Path, wanted: int) -> Iterator[None]:
    """Around the writing of the checkpoint `target`, of `wanted` bytes.

    Raises:
        OutputError: the disk is full, the folder cannot be written, or whatever else went wrong (CUDA tells late of what failed before).
    """
    problem = f"the checkpoint {target} cannot be written"
    try:
        yield
    except OutputError:
        raise
    except OSError as error:
        what = f"{error.strerror}: {error.filename}" if error.filename else str(error.strerror)
        hint = "free some space or mend the permissions and run again: the training goes on from the checkpoint before"
        raise OutputError(
            problem, got=f"{what}; {_free(target.parent)}", expected=f"room for {wanted:,} bytes", hint=hint
        ) from error
    except Exception as error:
        got = f"{type(error).__name__}: {(str(error).strip() or 'no more is told').splitlines()[0]}"
        raise OutputError(
            problem, got=got, hint="run again: the training goes on from the checkpoint before"
        ) from error


def _free(folder: Path) -> str:
    """What the disk has left for `folder`, or for the nearest one above it that is there."""
    for place in (folder, *folder.parents):
        with contextlib.suppress(OSError):
            return f"{shutil.disk_usage(place).free:,} bytes are free"
    return "how much is free cannot be told"
