"""Checkpoints of a training: written so that a crash at any moment leaves the newest whole one findable, verified when read.

One folder per interrupted stage, `.baton/checkpoints/STAGE/FINGERPRINT/`, outside DVC's outs (which DVC deletes before a stage runs). The
fingerprint covers params, data, code and environment, so a changed experiment never finds an old checkpoint. In it, per training:

    teacher/00000120-00000100/   {model,best,exp_avg,…}.safetensors, state.json, manifest.json (sha256 and bytes of each)

A checkpoint is written to a temporary folder, each file and then the folder flushed to the disk, renamed, and the rename flushed; only then
older ones go, but `KEEP` stay. Nothing is unpickled.
"""

import contextlib
import errno
import fcntl
import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
from safetensors.torch import load, save

from baton import console, params, storage
from baton.errors import OutputError, TrainingError
from baton.runtime import Runtime

KEEP = 2
# Installed versions count, whatever the lock file says.
PACKAGES = ("torch", "transformers", "numpy", "safetensors", "cryptography")
# How a training is saved and fed decides nothing of its course.
WITHOUT_EFFECT = {"checkpoint_seconds", "loader_workers"}
MANIFEST, STATE, HIDDEN = "manifest.json", "state.json", "."
Parts = Mapping[str, Mapping[str, torch.Tensor]]


@dataclass(frozen=True)
class Checkpoint:
    """What was saved: tensors by part and name, on the CPU, and JSON values."""

    parts: dict[str, dict[str, torch.Tensor]]
    state: dict[str, Any]


class Checkpoints:
    """The checkpoints of one training, in a folder that no other process writes to."""

    def __init__(self, folder: Path, seconds: float, notes: dict[str, str]) -> None:
        """`seconds` between two of them; `notes` are saved along with each."""
        self.folder, self.seconds, self.notes = folder, seconds, notes
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
            for old in self._names()[:-KEEP]:
                self._remove(old)
        except OSError as error:
            shutil.rmtree(temporary, ignore_errors=True)
            raise _unwritable(target, parts, error) from error

    def load(self) -> Checkpoint | None:
        """The newest whole one; broken ones are named and removed.

        Raises:
            OutputError: one cannot be read, although it may be whole.
        """
        names = self._names()
        for name in reversed(names):
            try:
                return _read(self.folder / name)
            except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
                rest = "the one before it is used" if name != names[0] else "there is none before it: the training starts anew"
                console.say(f"[yellow]checkpoint:[/] {self.folder / name} is broken ({error}); {rest}")
                self._remove(name)
            except OSError as error:
                hint = "mend the permissions or the disk and run again, or delete it to go on from the one before"
                raise OutputError(f"the checkpoint {self.folder / name} cannot be read", got=error.strerror, hint=hint) from error
        return None

    def _names(self) -> list[str]:
        return sorted(path.name for path in self.folder.glob(f"[!{HIDDEN}]*") if path.is_dir())

    def _remove(self, name: str) -> None:
        hidden = self.folder / f"{HIDDEN}{name}"  # so that a crash in between leaves no half checkpoint behind
        shutil.rmtree(hidden, ignore_errors=True)
        (self.folder / name).rename(hidden)
        shutil.rmtree(hidden)


class StageCheckpoints:
    """The checkpoints of a stage's trainings."""

    def __init__(self, folder: Path, seconds: float) -> None:
        """`folder` carries the fingerprint in its name; use `opened`."""
        self.folder, self.seconds = folder, seconds
        self.notes: dict[str, str] = {}

    def training(self, name: str) -> Checkpoints:
        """Those of the training `name`."""
        return Checkpoints(self.folder / name, self.seconds, self.notes)

    def note(self, key: str) -> str | None:
        """What an interrupted attempt noted under `key` in its newest checkpoint."""
        states = sorted(self.folder.glob(f"*/[!{HIDDEN}]*/{STATE}"), key=lambda path: path.stat().st_mtime, reverse=True)
        for state in states:
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                return str(storage.read_json(state)["notes"][key])
        return None

    def clear(self) -> None:
        """Remove all: the stage has succeeded."""
        shutil.rmtree(self.folder, ignore_errors=True)


@contextlib.contextmanager
def opened(stage: str, sections: Mapping[str, Any], runtime: Runtime) -> Iterator[StageCheckpoints]:
    """The checkpoints of a stage with exactly these params, inputs, code and environment, locked against a second writer.

    Args:
        stage: its name in `dvc.yaml`, whose `deps` are the inputs and the code.
        sections: its sections of params, by name.
        runtime: as resolved.

    Raises:
        TrainingError: another process is doing the same training.
    """
    marks = fingerprint(stage, sections, runtime)
    name = hashlib.sha256(json.dumps(marks, sort_keys=True).encode()).hexdigest()[:16]
    parent = storage.state("checkpoints") / stage
    found = StageCheckpoints(parent / name, runtime.checkpoint_seconds)
    if not runtime.is_main:
        yield found
        return
    with _locked(found.folder):
        storage.write_json(found.folder / "fingerprint.json", marks)
        _tell_others(parent, name, marks)
        yield found
        if not any(found.folder.glob(f"*/[!{HIDDEN}]*")):
            found.clear()


def fingerprint(stage: str, sections: Mapping[str, Any], runtime: Runtime) -> dict[str, str]:
    """All that the course of a training depends on, each with its value or digest."""
    values = params.flatten(dict(sections)).items()
    marks = {f"params {key}": json.dumps(value) for key, value in values if key.rpartition(".")[2] not in WITHOUT_EFFECT}
    for dep in params.read_raw(Path("dvc.yaml"))["stages"][stage]["deps"]:
        path = Path(dep)
        marks[dep] = storage.sha256_tree(path) if path.is_dir() else storage.sha256(path)
    device = torch.cuda.get_device_name() if runtime.device.type == "cuda" else _processor()
    machine = {"python": platform.python_version(), "device": device, "cuda": str(torch.version.cuda)}
    machine |= {name: importlib.metadata.version(name) for name in PACKAGES}
    chosen = {key: value for key, value in vars(runtime).items() if key not in WITHOUT_EFFECT | {"reasons", "rank"}}
    return marks | machine | {f"runtime {key}": str(value) for key, value in chosen.items()}


def _processor() -> str:
    """Model name of the processor: another one may round differently."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _tell_others(parent: Path, name: str, marks: dict[str, str]) -> None:
    """Say which interrupted trainings are not continued, why, and what they take."""
    for path in sorted(parent.glob("*/fingerprint.json")):
        if path.parent.name == name or not any(path.parent.glob(f"*/[!{HIDDEN}]*/{STATE}")):
            continue
        with contextlib.suppress(OSError, ValueError), _unlocked(path.parent):  # changing, or in use: not ours to speak of
            _tell_other(path, marks)


def _tell_other(path: Path, marks: dict[str, str]) -> None:
    other = storage.read_json(path)
    changed = sorted(key for key in marks | other if marks.get(key) != other.get(key))
    size = sum(file.stat().st_size for file in path.parent.rglob("*") if file.is_file())
    what = ", ".join(changed[:4]) + (f" and {len(changed) - 4} more" if len(changed) > 4 else "")
    console.say(
        f"checkpoint: {path.parent} ({size / 1e6:,.0f} MB) is of another training and not continued; it differs in {what}. "
        "Going back to it continues it; delete the folder if it is not wanted."
    )


@contextlib.contextmanager
def _unlocked(folder: Path) -> Iterator[None]:
    """Hold off writers of a folder; BlockingIOError if there is one."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, which ends with the process, and say in it who does."""
    folder.mkdir(parents=True, exist_ok=True)
    writer = folder / "writer.txt"
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            problem, hint = f"another process is doing this training ({folder})", "wait for it, or end it; then run again"
            got = writer.read_text(encoding="utf-8") if writer.is_file() else "a process without a name"
            raise TrainingError(problem, got=got, expected="one writer", hint=hint) from None
        started = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(psutil.Process().create_time()))
        writer.write_text(f"process {os.getpid()} on {platform.node()}, started {started}", encoding="utf-8")
        yield
    finally:
        os.close(handle)


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
