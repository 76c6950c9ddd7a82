"""Atomic writes, digests and the project's folders.

Data paths are relative to the working directory (a checkout, or the copy that `dvc exp run --temp` makes).
State that outlives a run (the MLflow store, fetched files) belongs to the project that owns `$DVC_ROOT`.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from baton import temporaries
from baton.errors import OutputError

STUDENT = "student"  # inside data/base and data/arrays: the same for a student with its own base model
TASKS = "tasks"  # inside the folders of data: the same for each further task, by its name


def project() -> Path:
    """Return the project that owns the state: `$DVC_ROOT` (set by DVC), or the working directory."""
    return Path(os.environ.get("DVC_ROOT") or Path.cwd()).resolve()


def state(name: str) -> Path:
    """Return folder `name` of the project's state (`.baton/`, ignored by git)."""
    return project() / ".baton" / name


def of_task(folder: Path, name: str) -> Path:
    """Return the place of a further task in a folder of data."""
    return folder / TASKS / name


def tasks(folder: Path) -> list[str]:
    """Return the names of the further tasks in a folder of data."""
    return sorted(path.name for path in (folder / TASKS).glob("*") if path.is_dir())


def sha256(path: Path) -> str:
    """Return the hex digest of a file, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_tree(folder: Path, without: str = "") -> str:
    """Return the hex digest of a folder: of its sorted relative paths and their contents.

    Folders in it with the name `without` are left out.
    """
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and without not in path.parts):
        digest.update(f"{path.relative_to(folder).as_posix()}\0{sha256(path)}\n".encode())
    return digest.hexdigest()


@contextlib.contextmanager
def atomic_file(target: Path, durable: bool = True) -> Iterator[Path]:
    """Yield a temporary path next to `target`; it becomes `target` on success, and a failure removes it.

    `durable` flushes the bytes to the disk before they get their name, so that a power cut cannot leave the
    name with an empty file. Temporaries that killed processes left are removed.

    Raises:
        OutputError: the folder is not writable or the disk is full.
    """
    with explained(target), temporaries.made(target, folder=False) as temporary:
        yield temporary
        temporary.chmod(0o644)
        if durable:
            temporaries.flush(temporary)
        temporary.replace(target)
        if durable:
            temporaries.flush(target.parent)


@contextlib.contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Yield a temporary folder next to `target`; it replaces `target` on success, and a failure removes it.

    Whenever the process dies, the old folder or the new one is there, whole (see `temporaries`).

    Raises:
        OutputError: the parent is not writable or the disk is full.
    """
    with explained(target), temporaries.made(target, folder=True) as temporary:
        yield temporary
        temporary.chmod(0o755)
        temporaries.put(temporary, target)


@contextlib.contextmanager
def explained(target: Path) -> Iterator[None]:
    """Turn the operating system's refusal to write in `target`'s folder into an OutputError.

    Raises:
        OutputError: it refuses.
    """
    try:
        yield
    except OSError as error:
        named = Path(str(error.filename)) if error.filename else target.parent
        if error.filename and target.parent.resolve() not in (named.resolve(), *named.resolve().parents):
            raise  # a file being read, not an output
        hint = "free some space or fix the permissions, then run again; no half-written file was left"
        raise OutputError(
            f"{target} cannot be written", got=error.strerror, expected="a writable folder", hint=hint
        ) from error


def write_json(path: Path, value: Any, durable: bool = True) -> None:
    """Write sorted, indented JSON atomically (byte-equal for equal values)."""
    with atomic_file(path, durable) as temporary:
        temporary.write_text(
            json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n",
            encoding="utf-8",
        )


def read_json(path: Path) -> Any:
    """Read JSON."""
    return json.loads(path.read_text(encoding="utf-8"))


def read_state(path: Path) -> dict[str, Any]:
    """Read an object that belongs to the project's state; a broken file is discarded, like a missing one.

    State can be made again, so it must never be the reason that nothing goes on.
    """
    try:
        found = read_json(path)
    except FileNotFoundError:
        return {}
    except ValueError:
        found = None
    if isinstance(found, dict):
        return found
    path.unlink(missing_ok=True)
    return {}


def read_state_arrays(path: Path) -> dict[str, Any]:
    """Read the named arrays of an .npz file of the project's state, as `read_state` does."""
    import zipfile
    import zlib

    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as kept:
            return dict(kept)
    except FileNotFoundError:
        return {}
    except (ValueError, EOFError, AttributeError, TypeError, zipfile.BadZipFile, zlib.error):
        path.unlink(missing_ok=True)
        return {}
