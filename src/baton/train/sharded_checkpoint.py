"""Write and read checkpoints of a model that is split over processes: each handles its own part.

A checkpoint's folder is as in `train.checkpoint`, except for its tensors: there is one file per process, with
the position of each part in its header, so that a different number of processes can read them. The format is
that of `torch.distributed.checkpoint`.

    teacher-0/00000120-00000100/   shard-00001.safetensors, …, state.json,
                                   manifest.json (sha256 and bytes of each)

Every process must take part in each call here. Several machines need a shared folder. Nothing is unpickled.

Training waits only for a copy of each process's part in its host's memory. Threads write the copies, and
communicate over a separate process group (gloo), so that this does not interfere with training.
"""

import json
import shutil
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
from torch.distributed.checkpoint.state_dict_loader import load as load_parts

from baton import console
from baton.errors import OutputError
from baton.runtime import distributed, exchange, sharding
from baton.runtime.exchange import Group
from baton.train import checkpoint_folders, shards
from baton.train.background_writes import BackgroundWrites
from baton.train.checkpoint import Checkpoint, Checkpoints
from baton.train.checkpoint_folders import HIDDEN, MANIFEST, STATE
from baton.train.shards import PROCESSES
from baton.train.snapshot import Parts, Snapshot, size

PARTS = "parts"  # key in the state: names of the parts, which may be empty
T = TypeVar("T")


class ShardedCheckpoints(BackgroundWrites):
    """The checkpoints of one training run of all processes."""

    def __init__(self, saved: Checkpoints, model: nn.Module, local: int = 1) -> None:
        """Create the checkpoints.

        Args:
            saved: gives the folder, interval and notes; those of the main process count.
            model: split as it will be trained.
            local: number of processes on this machine.
        """
        super().__init__(Snapshot(local))
        self.saved, self.model = saved, model
        self.main, size = (
            (dist.get_rank() == 0, dist.get_world_size()) if dist.is_initialized() else (True, 1)
        )
        self.last = time.monotonic()
        finished = str(saved.finished) if saved.finished else None
        self.folder, finished = Path(distributed.share(str(saved.folder))), distributed.share(finished)
        self.finished = Path(finished) if finished else None
        self._size, self._copies = size, True
        self._group: Group = None  # the threads' group, from the first copy on

    def due(self) -> bool:
        """Return whether it is time for the next checkpoint; processes may disagree.

        It also is if the previous one failed, which `save` then reports on all processes.
        """
        if self._busy():
            return False
        if self._pending and self._pending.exception():
            return True
        return time.monotonic() - self.last >= self.saved.seconds

    def save(self, name: str, parts: Parts, state: Mapping[str, Any], wait: bool = True) -> None:
        """Write a checkpoint; see `Checkpoints.save`.

        Raises:
            OutputError: the disk is full, the folder cannot be written, or not every process sees it; earlier
                checkpoints are intact. Without `wait`, the error may concern the previous checkpoint.
        """
        if wait:
            self._settle()  # write this one even if an older one failed
        else:
            self.wait()
        self.last = time.monotonic()
        content = json.dumps(
            {**state, PROCESSES: self._size, PARTS: list(parts), "notes": self.saved.notes}
        ).encode()
        taken = None if wait else self._taken(parts)
        if taken is None:
            self._write(self.folder / name, parts, content, lambda: None, None)
            return
        if not self._group and self._size > 1:
            self._group = cast("Group", dist.new_group(backend="gloo", timeout=distributed.EXCHANGE))
        self._start(self._write, self.folder / name, taken[0], content, taken[1], self._group)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """See `BackgroundWrites`."""
        with super().writing():
            yield
        if self._group:
            dist.destroy_process_group(self._group)

    def _taken(self, parts: Parts) -> tuple[Parts, Callable[[], None]] | None:
        """Return copies, split like the tensors, and a function that waits for them.

        Return None on all processes, from then on, if one of them lacks memory.
        """
        if not self._copies:
            return None
        taken = self._snapshot.take(
            {part: {name: sharding.own(tensor) for name, tensor in parts[part].items()} for part in parts}
        )
        if distributed.most(int(taken is None))[0] or taken is None:
            self._copies = False
            if taken:
                console.warn(
                    "checkpoint",
                    "another process lacks memory for its copy, so training waits while each is written",
                )
                taken[1]()  # wait until the copy is complete before freeing it
            self._snapshot.free()
            return None
        copies, ready = taken
        return {
            part: {name: sharding.like(tensor, copies[part][name]) for name, tensor in parts[part].items()}
            for part in parts
        }, ready

    def _write(
        self, target: Path, parts: Parts, state: bytes, ready: Callable[[], None], group: Group
    ) -> None:
        """Do all of a save except the copy, in the writers' threads, or in the waiting training's threads."""
        temporary = self.folder / f"{HIDDEN}{target.name}"
        flat = {
            f"{part}/{key}": tensor.detach()
            for part, tensors in parts.items()
            for key, tensor in tensors.items()
        }
        try:
            if not self._alone(target, lambda: self._begin(target), group):
                return
            written = _on_all(lambda: shards.put(temporary, flat, ready), target, size({"": flat}), group)
            entries = {name: entry for each in written for name, entry in each.items()}
            self._alone(target, lambda: self._end(target, temporary, entries, state), group)
        except Exception:
            if self.main:  # all processes have stopped writing, or are lost
                shutil.rmtree(temporary, ignore_errors=True)
            raise

    def load(self) -> Checkpoint | None:
        """Return the newest intact checkpoint, split as the model is now; report and remove broken ones.

        Raises:
            OutputError: a checkpoint cannot be read, although it may be intact.
        """
        for folder in filter(None, (self.folder, self.finished)):
            for name in reversed(distributed.share(checkpoint_folders.names(folder))):
                if found := self._read(folder / name):
                    return found
        return None

    def _alone(self, target: Path, work: Callable[[], T], group: Group) -> T:
        """Do work on the main process alone, and return its outcome on all."""
        outcome = _outcome(work, target) if self.main else [None, None]
        result, failure = exchange.share(outcome, group) if dist.is_initialized() else outcome
        if failure:
            raise OutputError(failure)
        return cast(T, result)

    def _begin(self, target: Path) -> bool:
        """Create an empty temporary folder; return False if the checkpoint exists already."""
        if target.exists():
            return False
        checkpoint_folders.begin(target)
        return True

    def _end(self, target: Path, temporary: Path, entries: dict[str, Any], state: bytes) -> None:
        """Write the manifest, rename the folder, and remove older checkpoints."""
        unseen = sorted(name for name in entries if not (temporary / name).is_file())
        if unseen:
            hint = "put the project, or .baton in it, on a file system that all machines share"
            got = f"no {unseen[0]} on the machine of the main process"
            raise OutputError(
                f"the checkpoint {target} is incomplete",
                got=got,
                expected="the files of all processes",
                hint=hint,
            )
        entries[STATE] = checkpoint_folders.put(temporary / STATE, [state])
        checkpoint_folders.put(temporary / MANIFEST, [json.dumps(entries).encode()])
        checkpoint_folders.end(temporary, target)

    def _read(self, folder: Path) -> Checkpoint | None:
        """Read a checkpoint; if it is broken, remove it and return None."""
        problems = _gathered(shards.verify(folder))
        if wrong := next(filter(None, problems), None):
            if self.main:
                console.warn(
                    "checkpoint", f"{folder} is broken ({wrong}); using the previous one, if there is one"
                )
                checkpoint_folders.remove(folder.parent, folder.name)
            distributed.barrier()
            return None
        reader, like = HuggingFaceStorageReader(str(folder)), self.model.state_dict()
        flat = {
            key: shards.empty(key, found, like)
            for key, found in reader.read_metadata().state_dict_metadata.items()
        }
        with _quiet():
            load_parts(flat, storage_reader=reader, no_dist=True)  # else plans are exchanged as pickles
        state = json.loads((folder / STATE).read_bytes())
        parts: dict[str, dict[str, torch.Tensor]] = {part: {} for part in state[PARTS]}
        for key, tensor in flat.items():
            part, _, name = key.partition("/")
            parts[part][name] = tensor
        if state[PROCESSES] != (now := len(problems)):
            console.say(
                f"checkpoint: written by {state[PROCESSES]} processes, read by {now}: "
                "results agree to rounding, not bit for bit"
            )
        return Checkpoint(parts, state)


def _on_all(work: Callable[[], T], target: Path, wanted: int, group: Group) -> list[T]:
    """Return, on all processes, the results of each one's work on a checkpoint of `wanted` bytes.

    If one process fails, all raise its error.
    """
    outcomes = _gathered(_outcome(work, target, wanted), group)
    if failure := next(filter(None, (failure for _, failure in outcomes)), None):
        raise OutputError(failure)
    return [result for result, _ in outcomes]


def _outcome(work: Callable[[], Any], target: Path, wanted: int = 0) -> list[Any]:
    """Return a result, and an error's text to send to the other processes, which wait for this one anyway."""
    try:
        with checkpoint_folders.explained(target, wanted):
            return [work(), None]
    except OutputError as error:
        return [None, str(error)]


def _gathered(value: Any, group: Group = None) -> list[Any]:
    return exchange.gather(value, group) if dist.is_initialized() else [value]


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress torch's warning that one process reads alone.

    Use it in the main thread, since warning filters are process-wide.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        yield
