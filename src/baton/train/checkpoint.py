"""Checkpoints of a training: written so that a crash at any moment leaves the newest whole one findable, verified when read.

One folder per training, in that of its stage's attempt (`train.resume`). In it one per checkpoint, named after its step and the step of
the last validation:

    teacher-0/00000120-00000100/   {model,best,optimizer.exp_avg,…}.safetensors, state.json, manifest.json (sha256 and bytes of each)

A checkpoint is written to a temporary folder, each file and then the folder flushed to the disk, renamed, and the rename flushed; only then
older ones go, but `folders.KEEP` stay. Nothing is unpickled.

The training waits only for a copy in memory (`train.snapshot`); a thread writes it. A thread is enough: hashing, writing and flushing
happen outside of Python's lock.
"""

import contextlib
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load

from baton import console
from baton.errors import OutputError
from baton.processes import signals
from baton.train import checkpoint_folders, tensors
from baton.train.checkpoint_folders import HIDDEN, MANIFEST, STATE
from baton.train.snapshot import Parts, Snapshot, size


@dataclass(frozen=True)
class Checkpoint:
    """What was saved: tensors by part and name (on the CPU where they were read), and JSON values."""

    parts: Mapping[str, Mapping[str, torch.Tensor]]
    state: dict[str, Any]


class Checkpoints:
    """The checkpoints of one training, in a folder that no other process writes to."""

    def __init__(
        self, folder: Path, seconds: float, notes: dict[str, str], finished: Path | None = None
    ) -> None:
        """`seconds` between two of them; `notes` are saved along with each; `finished` holds those of the same training, done before."""
        self.folder, self.seconds, self.notes, self.finished = folder, seconds, notes, finished
        self._last = time.monotonic()
        self._snapshot = Snapshot()
        self._writer = ThreadPoolExecutor(
            1, thread_name_prefix="checkpoint"
        )  # the interpreter does not exit before it is done
        self._pending: Future[None] | None = None

    def due(self) -> bool:
        """Whether the time for the next one has come. While one is being written it has not: the training neither waits nor piles them up.

        Raises:
            OutputError: the one before could not be written.
        """
        if self._pending:
            if not self._pending.done():
                return False
            self.wait()
        return time.monotonic() - self._last >= self.seconds

    def save(self, name: str, parts: Parts, state: Mapping[str, Any], wait: bool = True) -> None:
        """Write one; names sort as the training goes on. Nothing happens if it is there already.

        One that is still being written is waited for, so that a kill meanwhile costs no more than the newest.

        Args:
            name: of the checkpoint.
            parts: tensors by part and name. They may change when this returns.
            state: JSON values.
            wait: until it is on the disk. Else it is written while the training goes on: if that fails, `due` and the end of `writing`
                raise it, and the next `save` only says it. Where there is no memory for a copy, it is waited for too.

        Raises:
            OutputError: the disk is full, or the folder cannot be written; earlier checkpoints are whole.
        """
        self._told()  # an older one that failed is no reason not to write this one
        self._last = time.monotonic()
        target = self.folder / name
        if target.exists():
            return
        content = json.dumps({**state, "notes": self.notes}).encode()
        taken = None if wait else self._snapshot.take(parts)
        if taken is None:
            self._write(target, parts, content, lambda: None, _processors())
            return
        copies, ready = taken
        self._pending = self._writer.submit(
            self._write, target, copies, content, ready, max(1, _processors() // 4)
        )

    def wait(self) -> None:
        """Until none is being written.

        Raises:
            OutputError: it could not be written.
        """
        pending, self._pending = self._pending, None
        if pending:
            with signals.held():
                pending.result()

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Around a training: when it ends, however it does, nothing is being written any more and the copy's memory is free.

        Raises:
            OutputError: the last one could not be written. Where the training failed by itself, that is its error, and this is only said.
        """
        try:
            yield
        except BaseException:
            self._told()
            raise
        else:
            self.wait()
        finally:
            self._writer.shutdown()
            self._snapshot.free()

    def load(self) -> Checkpoint | None:
        """The newest whole one; broken ones are named and removed.

        Raises:
            OutputError: one cannot be read, although it may be whole.
        """
        return _newest(self.folder) or (_newest(self.finished) if self.finished else None)

    def _told(self) -> None:
        """Wait, and say what failed where something else counts more."""
        try:
            self.wait()
        except OutputError as error:
            console.warn("checkpoint", error)

    def _write(
        self, target: Path, parts: Parts, state: bytes, ready: Callable[[], None], threads: int
    ) -> None:
        """All of a save but its copy; in the writer's thread, or in that of the training while that waits."""
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
                "the one before it is used"
                if name != names[0]
                else "there is none before it: the training starts anew"
            )
            console.warn("checkpoint", f"{folder / name} is broken ({error}); {rest}")
            checkpoint_folders.remove(folder, name)
        except OSError as error:
            hint = "mend the permissions or the disk and run again, or delete it to go on from the one before"
            raise OutputError(
                f"the checkpoint {folder / name} cannot be read", got=error.strerror, hint=hint
            ) from error
    return None


def _fill(folder: Path, parts: Parts, state: bytes, threads: int) -> None:
    """All files and their manifest, each flushed to the disk."""

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
            raise ValueError(f"{name} has another sha256 than when it was written")
    state = json.loads(contents.pop(STATE))
    return Checkpoint(
        {name.removesuffix(".safetensors"): load(content) for name, content in contents.items()}, state
    )


def _processors() -> int:
    return len(os.sched_getaffinity(0))
