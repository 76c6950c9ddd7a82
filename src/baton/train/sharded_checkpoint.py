"""Checkpoints of a training whose model is split over processes: each writes and reads its own part (`torch.distributed.checkpoint`).

The folder of one is as `train.checkpoint` has it, but for its tensors: a file a process, with the place of each part in its header, so that
another number of processes can read them.

    teacher-0/00000120-00000100/   shard-00001-model-00001-of-00001.safetensors, …, state.json, manifest.json (sha256 and bytes of each)

Every process must take part in each call here. Several machines need a folder that all of them see. Nothing is unpickled.
"""

import json
import shutil
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.default_planner import DefaultSavePlanner
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.state_dict_loader import load as load_parts
from torch.distributed.checkpoint.state_dict_saver import save as save_parts

from baton import console, parallel
from baton.errors import OutputError
from baton.train import folders
from baton.train.checkpoint import Checkpoint, Checkpoints
from baton.train.folders import HIDDEN, MANIFEST, STATE

PROCESSES, PARTS = "processes", "parts"  # of its state: how many wrote it, and names of parts, which may be empty
T = TypeVar("T")


class ShardedCheckpoints:
    """The checkpoints of one training of all processes."""

    def __init__(self, saved: Checkpoints, model: nn.Module) -> None:
        """`saved` says where, how often and with which notes; those of the main process count. `model` is split as it will be trained."""
        self.saved, self.model, self.main = saved, model, not dist.is_initialized() or dist.get_rank() == 0
        self.last = time.monotonic()
        self.folder, self.finished = parallel.share((saved.folder, saved.finished))

    def due(self) -> bool:
        """Whether the time for the next one has come; processes may disagree."""
        return time.monotonic() - self.last >= self.saved.seconds

    def save(self, name: str, parts: Mapping[str, Mapping[str, torch.Tensor]], state: Mapping[str, Any], wait: bool = True) -> None:  # noqa: ARG002
        """Write one, as `Checkpoints.save` does, but the training always waits: its processes meet while they write.

        Raises:
            OutputError: the disk is full, the folder cannot be written, or not every process sees it; earlier checkpoints are whole.
        """
        self.last = time.monotonic()
        target, temporary = self.folder / name, self.folder / f"{HIDDEN}{name}"
        if not self._alone(lambda: self._begin(target)):
            return
        flat = {f"{part}/{key}": tensor.detach() for part, tensors in parts.items() for key, tensor in tensors.items()}
        try:
            written = _on_all(lambda: _write(temporary, flat), target, flat)
            entries = {name: entry for each in written for name, entry in each.items()}
            facts = {**state, PROCESSES: len(written), PARTS: list(parts), "notes": self.saved.notes}
            self._alone(lambda: self._end(target, temporary, entries, facts))
        except OutputError:
            if self.main:  # all have stopped writing
                shutil.rmtree(temporary, ignore_errors=True)
            raise

    @contextmanager
    def writing(self) -> Iterator[None]:
        """See `Checkpoints`."""
        yield

    def load(self) -> Checkpoint | None:
        """The newest whole one, split as the model is now; broken ones are named and removed.

        Raises:
            OutputError: one cannot be read, although it may be whole.
        """
        for folder in filter(None, (self.folder, self.finished)):
            for name in reversed(parallel.share(folders.names(folder))):
                if found := self._read(folder / name):
                    return found
        return None

    def _alone(self, work: Callable[[], T]) -> T:
        """What the main process does alone, and its outcome on all."""
        outcome: tuple[T | None, OutputError | None] = (None, None)
        if self.main:
            try:
                outcome = (work(), None)
            except OutputError as error:
                outcome = (None, error)
        result, failure = parallel.share(outcome)
        if failure:
            raise failure
        return result  # type: ignore[return-value]

    def _begin(self, target: Path) -> bool:
        """An empty temporary folder; False: it is there already."""
        if target.exists():
            return False
        with folders.explained(target, 0):
            folders.begin(target)
        return True

    def _end(self, target: Path, temporary: Path, entries: dict[str, Any], state: Mapping[str, Any]) -> None:
        """Manifest, rename, and older ones go."""
        unseen = sorted(name for name in entries if not (temporary / name).is_file())
        if unseen:
            hint = "put the project, or .baton in it, on a file system that all machines share"
            got = f"no {unseen[0]} on the machine of the main process"
            raise OutputError(f"the checkpoint {target} is not whole", got=got, expected="the files of all processes", hint=hint)
        with folders.explained(target, 0):
            entries[STATE] = folders.put(temporary / STATE, [json.dumps(state).encode()])
            folders.put(temporary / MANIFEST, [json.dumps(entries).encode()])
            folders.end(temporary, target)

    def _read(self, folder: Path) -> Checkpoint | None:
        """One checkpoint, or None if it is broken; it is removed then."""
        told = _gathered(_verify(folder))
        if wrong := next(filter(None, told), None):
            if self.main:
                console.say(f"[yellow]checkpoint:[/] {folder} is broken ({wrong}); the one before it is used, if there is one")
                folders.remove(folder.parent, folder.name)
            parallel.barrier()
            return None
        reader, like = HuggingFaceStorageReader(str(folder)), self.model.state_dict()
        flat = {key: _empty(key, found, like) for key, found in reader.read_metadata().state_dict_metadata.items()}
        with _quiet():
            load_parts(flat, storage_reader=reader)
        state = json.loads((folder / STATE).read_bytes())
        parts: dict[str, dict[str, torch.Tensor]] = {part: {} for part in state[PARTS]}
        for key, tensor in flat.items():
            part, _, name = key.partition("/")
            parts[part][name] = tensor
        if state[PROCESSES] != (now := len(told)):
            console.say(f"checkpoint: written by {state[PROCESSES]} processes, read by {now}: results agree to rounding, not to the bit")
        return Checkpoint(parts, state)


def _write(temporary: Path, flat: dict[str, torch.Tensor]) -> dict[str, object]:
    """This process's part, flushed to the disk; its entries of the manifest."""
    before = set(temporary.glob("*.safetensors"))
    prefix = f"shard-{(dist.get_rank() if dist.is_initialized() else 0) + 1:05d}-"
    with _quiet():
        writer = HuggingFaceStorageWriter(str(temporary), save_distributed=True)
        # What is not split is written by the main process: statistics of batch normalisation are each process's own, and its count.
        save_parts(flat, storage_writer=writer, planner=DefaultSavePlanner(dedup_save_to_lowest_rank=True))
    return {path.name: folders.entry(path) for path in set(temporary.glob(f"{prefix}*")) - before}


def _verify(folder: Path) -> str | None:
    """What is wrong with this process's share of the files; None: nothing."""
    rank, size = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    try:
        expected = json.loads((folder / MANIFEST).read_bytes())
        for name in sorted(expected)[rank::size]:
            if (found := folders.entry(folder / name)) != expected[name]:
                return f"{name} has {found['bytes']:,} bytes, of another sha256 or number than when it was written"
        json.loads((folder / STATE).read_bytes())[PROCESSES]
    except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
        return str(error)
    except OSError as error:
        hint = "mend the permissions or the disk and run again, or delete it to go on from the one before"
        raise OutputError(f"the checkpoint {folder} cannot be read", got=error.strerror, hint=hint) from error
    return None


def _empty(key: str, found: Any, like: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Room for a saved tensor: split as the weight of its name, or whole."""
    weight, dtype = like.get(key.partition("/")[2]), found.properties.dtype
    if weight is not None and weight.shape == found.size:
        return torch.empty_like(weight, dtype=dtype, requires_grad=False)
    return torch.empty(found.size, dtype=dtype)


def _on_all(work: Callable[[], T], target: Path, flat: Mapping[str, torch.Tensor]) -> list[T]:
    """What each process's work gives, on all; the failure of one is that of all."""
    with folders.explained(target, sum(tensor.numel() * tensor.element_size() for tensor in flat.values())):
        try:
            return _gathered(work())
        except CheckpointException as error:
            for cause, _ in error.failures.values():
                if isinstance(cause, OSError):
                    raise cause from error
            raise


def _gathered(value: T) -> list[T]:
    if not dist.is_initialized():
        return [value]
    box: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(box, value)
    return box


@contextmanager
def _quiet() -> Iterator[None]:
    """Without torch's warning that one process writes alone."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        yield
