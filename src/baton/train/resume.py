"""Find the checkpoints of interrupted attempts of exactly this experiment, lock them, and report others.

There is one folder per attempt, `.baton/checkpoints/STAGE/FINGERPRINT/`, outside DVC's outs (which DVC
deletes before a stage runs). The fingerprint covers params, data, code and environment, so a changed
experiment never finds an old checkpoint.
"""

import contextlib
import fcntl
import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
import torch

from baton import console, params, storage
from baton.errors import TrainingError
from baton.runtime import distributed
from baton.runtime.resolve import Runtime
from baton.train import finished_runs
from baton.train.checkpoint import Checkpoints
from baton.train.checkpoint_folders import HIDDEN, STATE
from baton.train.state import FINISHED

# The installed versions count, not those in the lock file.
PACKAGES = (
    "torch",
    "torchvision",
    "transformers",
    "timm",
    "peft",
    "numpy",
    "scikit-learn",
    "safetensors",
    "cryptography",
)
# How a training run is saved, fed and started does not affect its course.
BYTECODE = "__pycache__"  # which a process may write at any time
WITHOUT_EFFECT = {"checkpoint_seconds", "data_on_device", "launcher", "loader_workers"}
# A split model's checkpoint fits any number of processes, which only affects rounding, as does the number of
# threads, each process's share of its machine.
OF_ANY_NUMBER = {"processes", "threads"}


class StageCheckpoints:
    """The checkpoints of a stage's training runs."""

    def __init__(
        self, folder: Path, seconds: float, kept: Path | None = None, marks: Mapping[str, str] | None = None
    ) -> None:
        """Use `opened` instead. The fingerprint `marks` names `folder` and `kept` (for finished runs)."""
        self.folder, self.seconds, self.kept, self.marks = folder, seconds, kept, marks
        self.notes: dict[str, str] = {}

    def training(self, name: str) -> Checkpoints:
        """Return the checkpoints of the training run `name`, which may have finished earlier."""
        return Checkpoints(
            self.folder / name, self.seconds, self.notes, self.kept / name if self.kept else None
        )

    def begun(self, seeds: Sequence[int]) -> bool:
        """Return whether an earlier attempt left a checkpoint, or a finished training run of these seeds."""
        found = list(self.folder.glob(f"*/[!{HIDDEN}]*/{STATE}"))
        if self.kept is not None:
            found += [path for seed in seeds for path in self.kept.glob(f"*-{seed}/*{FINISHED}")]
        return bool(found)

    def note(self, key: str) -> str | None:
        """Return the note that an interrupted attempt saved under `key` in its newest checkpoint."""
        states = sorted(
            self.folder.glob(f"*/[!{HIDDEN}]*/{STATE}"), key=lambda path: path.stat().st_mtime, reverse=True
        )
        for state in states:
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                return str(storage.read_json(state)["notes"][key])
        return None

    def succeeded(self, seeds: Sequence[int]) -> None:
        """Remove the checkpoints of runs with `seeds`, but keep their results for a run with more seeds."""
        if self.kept:
            finished_runs.keep(self.folder, self.kept, seeds)
        for seed in seeds:
            for training in self.folder.glob(f"*-{seed}"):
                shutil.rmtree(training, ignore_errors=True)


@contextlib.contextmanager
def opened(
    stage: str, sections: Mapping[str, Any], runtime: Runtime, seeds: Sequence[int]
) -> Iterator[StageCheckpoints]:
    """Open and lock a stage's checkpoints for exactly these params, inputs, code and environment.

    Args:
        stage: its name in `dvc.yaml`, whose `deps` are the inputs and the code.
        sections: its params sections, by name, without the list of seeds: other seeds do not affect a
            training run.
        runtime: as resolved.
        seeds: of its training runs, whose names end with them.

    Raises:
        TrainingError: another process is doing the same training run.
    """
    marks = distributed.once(
        lambda: fingerprint(stage, sections, runtime)
    )  # on one rank: it reads all inputs
    name = hashlib.sha256(json.dumps(marks, sort_keys=True).encode()).hexdigest()[:16]
    parent = storage.state("checkpoints") / stage
    kept = storage.state("finished") / stage / name
    found = StageCheckpoints(parent / name, runtime.checkpoint_seconds, kept, marks)
    if not runtime.is_main:
        yield found
        return
    with _locked(found.folder):
        storage.write_json(found.folder / "fingerprint.json", marks)
        _tell_others(parent, name, marks)
        finished_runs.usable(kept, seeds)
        yield found
        if not any(found.folder.glob(f"*/[!{HIDDEN}]*")):
            shutil.rmtree(found.folder, ignore_errors=True)


def fingerprint(stage: str, sections: Mapping[str, Any], runtime: Runtime) -> dict[str, str]:
    """Return everything that the course of a training run depends on, each with its value or digest."""
    without = WITHOUT_EFFECT | (OF_ANY_NUMBER if runtime.sharding == "full" else set())
    values = params.flatten(dict(sections)).items()
    marks = {
        f"params {key}": json.dumps(value) for key, value in values if key.rpartition(".")[2] not in without
    }
    for dep in params.read_raw(Path("dvc.yaml"))["stages"][stage]["deps"]:
        path = Path(dep)
        marks[dep] = storage.sha256_tree(path, without=BYTECODE) if path.is_dir() else storage.sha256(path)
    device = torch.cuda.get_device_name() if runtime.device.type == "cuda" else _processor()
    machine = {"python": platform.python_version(), "device": device, "cuda": str(torch.version.cuda)}
    machine |= {name: importlib.metadata.version(name) for name in PACKAGES}
    chosen = {key: value for key, value in vars(runtime).items() if key not in without | {"reasons", "rank"}}
    return marks | machine | {f"runtime {key}": str(value) for key, value in chosen.items()}


def _processor() -> str:
    """Return the processor's model name: another model may round differently."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _tell_others(parent: Path, name: str, marks: dict[str, str]) -> None:
    """Report which interrupted training runs are not resumed, why, and how much space they take."""
    for path in sorted(parent.glob("*/fingerprint.json")):
        if path.parent.name == name or not any(path.parent.glob(f"*/[!{HIDDEN}]*/{STATE}")):
            continue
        # Skip folders that are changing or in use.
        with contextlib.suppress(OSError, ValueError), _unlocked(path.parent):
            _tell_other(path, marks)


def _tell_other(path: Path, marks: dict[str, str]) -> None:
    other = storage.read_json(path)
    changed = sorted(key for key in marks | other if marks.get(key) != other.get(key))
    size = sum(file.stat().st_size for file in path.parent.rglob("*") if file.is_file())
    what = ", ".join(changed[:4]) + (f" and {len(changed) - 4} more" if len(changed) > 4 else "")
    console.say(
        f"checkpoint: {path.parent} ({size / 1e6:,.0f} MB) belongs to another training run "
        f"and is not resumed; it differs in {what}. Undo these changes to resume it, or delete the folder."
    )


@contextlib.contextmanager
def _unlocked(folder: Path) -> Iterator[None]:
    """Hold off writers of a folder; raise BlockingIOError if there is one."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, which ends with the process, and record its owner in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    writer = folder / "writer.txt"
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            problem, hint = (
                f"another process is doing this training run ({folder})",
                "wait for it, or stop it; then run again",
            )
            got = writer.read_text(encoding="utf-8") if writer.is_file() else "an unknown process"
            raise TrainingError(problem, got=got, expected="one writer", hint=hint) from None
        started = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(psutil.Process().create_time()))
        writer.write_text(f"process {os.getpid()} on {platform.node()}, started {started}", encoding="utf-8")
        yield
    finally:
        os.close(handle)
