"""Checkpoints of a training: written so that a crash at any moment leaves the newest whole one findable, verified when read.

One folder per training, in that of its stage's attempt (`train.attempts`). In it one per checkpoint, named after its step and the step of
the last validation:

    teacher-0/00000120-00000100/   {model,best,optimizer.exp_avg,…}.safetensors, state.json, manifest.json (sha256 and bytes of each)

A checkpoint is written to a temporary folder, each file and then the folder flushed to the disk, renamed, and the rename flushed; only then
older ones go, but `KEEP` stay. Nothing is unpickled.
"""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save

from baton import console
from baton.errors import OutputError

KEEP = 2
MANIFEST, STATE, HIDDEN = "manifest.json", "state.json", "."
Parts = Mapping[str, Mapping[str, torch.Tensor]]


@dataclass(frozen=True)
class Checkpoint:
    """What was saved: tensors by part and name (on the CPU where they were read), and JSON values."""

    parts: Mapping[str, Mapping[str, torch.Tensor]]
    state: dict[str, Any]


class Checkpoints:
    """The checkpoints of one training, in a folder that no other process writes to."""

    def __init__(self, folder: Path, seconds: float, notes: dict[str, str], finished: Path | None = None) -> None:
        """`seconds` between two of them; `notes` are saved along with each; `finished` holds those of the same training, done before."""
        self.folder, self.seconds, self.notes, self.finished = folder, seconds, notes, finished
        self._last = time.monotonic()

    def due(self) -> bool:
        """Whether the time for the next one has come."""
        return time.monotonic() - self._last >= self.seconds

    def save(self, name: str, parts: Parts, state: Mapping[str, Any]) -> None:
        """Write one; names sort as the training goes on. Nothing happens if it is there already.

        Raises:
            OutputError: the disk is full, or the folder cannot be written; earlier checkpoints are whole.
        """
        self._last = time.monotonic()
        target = self.folder / name
        if target.exists():
            return
        temporary = self.folder / f"{HIDDEN}{name}"
        try:
            for stale in self.folder.glob(f"{HIDDEN}*"):  # of a save or a removal that was killed
                shutil.rmtree(stale, ignore_errors=True)
            temporary.mkdir(parents=True)
            _write(temporary, parts, {**state, "notes": self.notes})
            temporary.rename(target)
            for folder in (self.folder, self.folder.parent):
                _flush(folder)
            for old in _names(self.folder)[:-KEEP]:
                _remove(self.folder, old)
        except OSError as error:
            shutil.rmtree(temporary, ignore_errors=True)
            raise _unwritable(target, parts, error) from error

    def load(self) -> Checkpoint | None:
        """The newest whole one; broken ones are named and removed.

        Raises:
            OutputError: one cannot be read, although it may be whole.
        """
        return _newest(self.folder) or (_newest(self.finished) if self.finished else None)


def _newest(folder: Path) -> Checkpoint | None:
    names = _names(folder)
    for name in reversed(names):
        try:
            return _read(folder / name)
        except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
            rest = "the one before it is used" if name != names[0] else "there is none before it: the training starts anew"
            console.say(f"[yellow]checkpoint:[/] {folder / name} is broken ({error}); {rest}")
            _remove(folder, name)
        except OSError as error:
            hint = "mend the permissions or the disk and run again, or delete it to go on from the one before"
            raise OutputError(f"the checkpoint {folder / name} cannot be read", got=error.strerror, hint=hint) from error
    return None


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob(f"[!{HIDDEN}]*") if path.is_dir())


def _remove(folder: Path, name: str) -> None:
    hidden = folder / f"{HIDDEN}{name}"  # so that a crash in between leaves no half checkpoint behind
    shutil.rmtree(hidden, ignore_errors=True)
    (folder / name).rename(hidden)
    shutil.rmtree(hidden)


def _write(folder: Path, parts: Parts, state: Mapping[str, Any]) -> None:
    """All files and their manifest, flushed to the disk."""

    def put(name: str) -> dict[str, object]:
        content = save({key: tensor.detach().cpu().contiguous() for key, tensor in parts[name].items()})
        return _put(folder / f"{name}.safetensors", content)

    with ThreadPoolExecutor() as threads:  # serialising, hashing and writing overlap
        manifest = {f"{name}.safetensors": entry for name, entry in zip(parts, threads.map(put, parts), strict=True)}
    manifest[STATE] = _put(folder / STATE, json.dumps(state).encode())
    _put(folder / MANIFEST, json.dumps(manifest).encode())
    _flush(folder)


def _put(path: Path, content: bytes) -> dict[str, object]:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}


def _flush(folder: Path) -> None:
    """Make a folder's own entries (new files, a rename) outlast a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _read(folder: Path) -> Checkpoint:
    contents: dict[str, bytes] = {}
    for name, expected in json.loads((folder / MANIFEST).read_bytes()).items():
        contents[name] = (folder / name).read_bytes()
        if len(contents[name]) != expected["bytes"]:
            raise ValueError(f"{name} has {len(contents[name]):,} bytes instead of {expected['bytes']:,}")
        if hashlib.sha256(contents[name]).hexdigest() != expected["sha256"]:
            raise ValueError(f"{name} has another sha256 than when it was written")
    state = json.loads(contents.pop(STATE))
    return Checkpoint({name.removesuffix(".safetensors"): load(content) for name, content in contents.items()}, state)


def _unwritable(target: Path, parts: Parts, error: OSError) -> OutputError:
    wanted = sum(tensor.nbytes for tensors in parts.values() for tensor in tensors.values())
    got = error.strerror
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        with contextlib.suppress(OSError):
            got = f"{error.strerror}: {shutil.disk_usage(target.parent).free:,} bytes are free"
    hint = "free some space or mend the permissions and run again: the training goes on from the checkpoint before"
    return OutputError(f"the checkpoint {target} cannot be written", got=got, expected=f"room for {wanted:,} bytes", hint=hint)
