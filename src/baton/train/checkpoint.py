"""Write and read checkpoints of a training run, so that a crash at any moment leaves an intact one.

There is one folder per training run, in the folder of its stage's attempt (`train.resume`). It contains one
folder per checkpoint, named after its step and the step of the last validation:

    teacher-0/00000120-00000100/   {model,best,optimizer.exp_avg,…}.safetensors, state.json,
                                   manifest.json (sha256 and bytes of each)

A checkpoint is written to a temporary folder. Each file and then the folder are flushed to disk, the folder
is renamed, and the rename is flushed; only then are older checkpoints removed, except for
`checkpoint_folders.KEEP`. Checkpoints are verified when read. Nothing is unpickled.

A thread may write them while training continues (`train.background_writes`).
"""

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load

from baton import console, processors
from baton.errors import OutputError
from baton.train import checkpoint_folders, tensors
from baton.train.background_writes import BackgroundWrites
from baton.train.checkpoint_folders import HIDDEN, MANIFEST, STATE
from baton.train.snapshot import Parts, Snapshot, size


@dataclass(frozen=True)
class Checkpoint:
    """The saved state: tensors by part and name (on the CPU when read from disk), and JSON values."""

    parts: Mapping[str, Mapping[str, torch.Tensor]]
    state: dict[str, Any]


class Checkpoints(BackgroundWrites):
    """The checkpoints of one training run, in a folder that no other process writes to."""

    def __init__(
        self, folder: Path, seconds: float, notes: dict[str, str], finished: Path | None = None
    ) -> None:
        """Keep checkpoints in `folder`.

        Args:
            folder: of this training run.
            seconds: interval between checkpoints.
            notes: saved with each checkpoint.
            finished: folder with the checkpoint of the same training run, finished earlier.
        """
        super().__init__(Snapshot())
        self.folder, self.seconds, self.notes, self.finished = folder, seconds, notes, finished
        self._last = time.monotonic()

    def due(self) -> bool:
        """Return whether it is time for the next checkpoint.

        While one is being written it is not: training neither waits nor queues up checkpoints.

        Raises:
            OutputError: the previous checkpoint could not be written.
        """
        if self._busy():
            return False
        self.wait()
        return time.monotonic() - self._last >= self.seconds

    def save(self, name: str, parts: Parts, state: Mapping[str, Any], wait: bool = True) -> None:
        """Write a checkpoint, unless it exists already; names sort in the order of training.

        Wait for one that is still being written, so that a kill in the meantime costs no more than the
        newest.

        Args:
            name: of the checkpoint.
            parts: tensors by part and name. They may change as soon as this returns.
            state: JSON values.
            wait: wait until the checkpoint is on disk. Otherwise it is written while training continues; if
                that fails, `due` and the end of `writing` raise the error, and the next `save` only prints
                it. Without enough memory for a copy, this waits too.

        Raises:
            OutputError: the disk is full, or the folder cannot be written; earlier checkpoints are intact.
        """
        self._settle(OutputError)  # write this one even if there was no room for an older one
        self._last = time.monotonic()
        target = self.folder / name
        if target.exists():
            return
        content = json.dumps({**state, "notes": self.notes}).encode()
        taken = None if wait else self._snapshot.take(parts)
        if taken is None:
            self._write(target, parts, content, lambda: None, processors.available())
            return
        copies, ready = taken
        self._start(self._write, target, copies, content, ready, max(1, processors.available() // 4))

    def load(self) -> Checkpoint | None:
        """Return the newest intact checkpoint; report and remove broken ones.

        Raises:
            OutputError: a checkpoint cannot be read, although it may be intact.
        """
        return _newest(self.folder) or (_newest(self.finished) if self.finished else None)

    def _write(
        self, target: Path, parts: Parts, state: bytes, ready: Callable[[], None], threads: int
    ) -> None:
        """Do all of a save except the copy, in the writer's thread, or in the waiting training's thread."""
        try:
            with checkpoint_folders.explained(target, size(parts)):
                ready()
                temporary = checkpoint_folders.begin(target)
                _fill(temporary, parts, state, threads)
                checkpoint_folders.end(temporary, target)
        except OutputError:
            shutil.rmtree(self.folder / f"{HIDDEN}{target.name}", ignore_errors=True)
            raise


def _newest(folder: Path) -> Checkpoint | None:
    names = checkpoint_folders.names(folder)
    for name in reversed(names):
        try:
            return _read(folder / name)
        except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
            rest = (
                "using the previous one"
                if name != names[0]
                else "there is no earlier one: training restarts from the beginning"
            )
            console.warn("checkpoint", f"{folder / name} is broken ({error}); {rest}")
            checkpoint_folders.remove(folder, name)
        except OSError as error:
            hint = (
                "fix its permissions or the disk and run again, or delete it to resume from the previous one"
            )
            raise OutputError(
                f"the checkpoint {folder / name} cannot be read", got=error.strerror, hint=hint
            ) from error
    return None


def _fill(folder: Path, parts: Parts, state: bytes, threads: int) -> None:
    """Write all files and their manifest, and flush each to disk."""

    def put(name: str) -> dict[str, object]:
        return checkpoint_folders.put(folder / f"{name}.safetensors", tensors.encoded(parts[name]))

    with ThreadPoolExecutor(threads) as pool:  # hashing and writing overlap
        manifest = {
            f"{name}.safetensors": entry for name, entry in zip(parts, pool.map(put, parts), strict=True)
        }
    manifest[STATE] = checkpoint_folders.put(folder / STATE, [state])
    checkpoint_folders.put(folder / MANIFEST, [json.dumps(manifest).encode()])


def _read(folder: Path) -> Checkpoint:
    contents: dict[str, bytes] = {}
    for name, expected in json.loads((folder / MANIFEST).read_bytes()).items():
        contents[name] = (folder / name).read_bytes()
        if len(contents[name]) != expected["bytes"]:
            raise ValueError(f"{name} has {len(contents[name]):,} bytes instead of {expected['bytes']:,}")
        if hashlib.sha256(contents[name]).hexdigest() != expected["sha256"]:
            raise ValueError(f"the sha256 of {name} differs from when it was written")
    state = json.loads(contents.pop(STATE))
    return Checkpoint(
        {name.removesuffix(".safetensors"): load(content) for name, content in contents.items()}, state
    )
