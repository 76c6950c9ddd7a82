"""Checkpoints of a training whose model is split over processes: each writes and reads its own part (`torch.distributed.checkpoint`).

The folder of one is as `train.checkpoint` has it, but for its tensors: a file a process, with the place of each part in its header, so that
another number of processes can read them.

    teacher-0/00000120-00000100/   shard-00001-model-00001-of-00001.safetensors, …, state.json, manifest.json (sha256 and bytes of each)

Every process must take part in each call here. Several machines need a folder that all of them see. Nothing is unpickled.

The training waits only for a copy of each process's part in its host's memory; threads write them, and exchange what they have to over a
process group of their own (gloo), so that it does not mix with the training's exchanges.
"""

import json
import shutil
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.default_planner import DefaultSavePlanner
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.state_dict_loader import load as load_parts
from torch.distributed.checkpoint.state_dict_saver import save as save_parts

from baton import console, parallel, sharding
from baton.errors import OutputError
from baton.train import folders, interrupt
from baton.train.checkpoint import Checkpoint, Checkpoints
from baton.train.folders import HIDDEN, MANIFEST, STATE
from baton.train.snapshot import Parts, Snapshot

PROCESSES, PARTS = "processes", "parts"  # of its state: how many wrote it, and names of parts, which may be empty
T = TypeVar("T")
Group = dist.ProcessGroup | None  # None: that of the training


class ShardedCheckpoints:
    """The checkpoints of one training of all processes."""

    def __init__(self, saved: Checkpoints, model: nn.Module) -> None:
        """`saved` says where, how often and with which notes; those of the main process count. `model` is split as it will be trained."""
        self.saved, self.model = saved, model
        self.main, size = (dist.get_rank() == 0, dist.get_world_size()) if dist.is_initialized() else (True, 1)
        self.last = time.monotonic()
        self.folder, self.finished = parallel.share((saved.folder, saved.finished))
        self._snapshot, self._size = Snapshot(size), size
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")  # the interpreter does not exit before it is done
        self._pending: Future[None] | None = None
        self._group: Group = None  # of the threads, from the first copy on

    def due(self) -> bool:
        """Whether the time for the next one has come, or the one before failed, which `save` tells on all; processes may disagree."""
        if self._pending:
            if not self._pending.done():
                return False
            if self._pending.exception():
                return True
        return time.monotonic() - self.last >= self.saved.seconds

    def save(self, name: str, parts: Parts, state: Mapping[str, Any], wait: bool = True) -> None:
        """Write one, as `Checkpoints.save` does.

        Raises:
            OutputError: the disk is full, the folder cannot be written, or not every process sees it; earlier checkpoints are whole.
                Without `wait` it may be the one before that failed.
        """
        self._settle(raises=not wait)
        self.last = time.monotonic()
        content = json.dumps({**state, PROCESSES: self._size, PARTS: list(parts), "notes": self.saved.notes}).encode()
        taken = None if wait else self._taken(parts)
        if taken is None:
            self._write(self.folder / name, parts, content, lambda: None, None)
            return
        if not self._group and self._size > 1:
            self._group = cast("Group", dist.new_group(backend="gloo", timeout=parallel.EXCHANGE))
        self._pending = self._writer.submit(self._write, self.folder / name, taken[0], content, taken[1], self._group)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """See `Checkpoints`."""
        try:
            yield
        except BaseException:
            self._settle(raises=False)
            raise
        else:
            self._settle(raises=True)
            if self._group:
                dist.destroy_process_group(self._group)
        finally:
            self._writer.shutdown()
            self._snapshot.free()

    def _settle(self, raises: bool) -> None:
        """Until none is being written; of one that failed, all raise the error, or the main process says it."""
        pending, self._pending = self._pending, None
        if pending is None:
            return
        with interrupt.held():
            failure = pending.exception()
        if failure and raises:
            raise failure
        if failure:
            console.say(f"[yellow]checkpoint:[/] {failure}")

    def _taken(self, parts: Parts) -> tuple[Parts, Callable[[], None]] | None:
        """Copies that are split as the tensors are, and what waits for them; None on all where a process has no memory for its own."""
        taken = self._snapshot.take({part: {name: sharding.own(tensor) for name, tensor in parts[part].items()} for part in parts})
        if parallel.most(int(taken is None))[0] or taken is None:
            return None
        copies, ready = taken
        return {part: {name: sharding.like(tensor, copies[part][name]) for name, tensor in parts[part].items()} for part in parts}, ready

    def _write(self, target: Path, parts: Parts, state: bytes, ready: Callable[[], None], group: Group) -> None:
        """All of a save but its copy; in the writers' threads, or in those of the training while that waits."""
        temporary = self.folder / f"{HIDDEN}{target.name}"
        if not self._alone(lambda: self._begin(target), group):
            return
        flat = {f"{part}/{key}": tensor.detach() for part, tensors in parts.items() for key, tensor in tensors.items()}
        try:
            written = _on_all(lambda: _written(temporary, flat, ready, group), target, flat, group)
            entries = {name: entry for each in written for name, entry in each.items()}
            self._alone(lambda: self._end(target, temporary, entries, state), group)
        except OutputError:
            if self.main:  # all have stopped writing
                shutil.rmtree(temporary, ignore_errors=True)
            raise

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

    def _alone(self, work: Callable[[], T], group: Group) -> T:
        """What the main process does alone, and its outcome on all."""
        outcome: tuple[T | None, Exception | None] = _outcome(work) if self.main else (None, None)
        result, failure = _gathered(outcome, group)[0]
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

    def _end(self, target: Path, temporary: Path, entries: dict[str, Any], state: bytes) -> None:
        """Manifest, rename, and older ones go."""
        unseen = sorted(name for name in entries if not (temporary / name).is_file())
        if unseen:
            hint = "put the project, or .baton in it, on a file system that all machines share"
            got = f"no {unseen[0]} on the machine of the main process"
            raise OutputError(f"the checkpoint {target} is not whole", got=got, expected="the files of all processes", hint=hint)
        with folders.explained(target, 0):
            entries[STATE] = folders.put(temporary / STATE, [state])
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


def _written(temporary: Path, flat: dict[str, torch.Tensor], ready: Callable[[], None], group: Group) -> dict[str, object]:
    """This process's part, flushed to the disk; its entries of the manifest."""
    ready()
    before = set(temporary.glob("*.safetensors"))
    prefix = f"shard-{(dist.get_rank() if dist.is_initialized() else 0) + 1:05d}-"
    with _quiet():
        writer = HuggingFaceStorageWriter(str(temporary), save_distributed=True)
        # What is not split is written by the main process: statistics of batch normalisation are each process's own, and its count.
        save_parts(flat, storage_writer=writer, planner=DefaultSavePlanner(dedup_save_to_lowest_rank=True), process_group=group)
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


def _on_all(work: Callable[[], T], target: Path, flat: Mapping[str, torch.Tensor], group: Group) -> list[T]:
    """What each process's work gives, on all; the failure of one is that of all."""

    def explained() -> T:
        with folders.explained(target, sum(tensor.numel() * tensor.element_size() for tensor in flat.values())):
            try:
                return work()
            except CheckpointException as error:
                for cause, _ in error.failures.values():
                    if isinstance(cause, OSError):
                        raise cause from error
                raise

    outcomes = _gathered(_outcome(explained), group)
    if failure := next(filter(None, (failure for _, failure in outcomes)), None):
        raise failure
    return [result for result, _ in outcomes]  # type: ignore[misc]


def _outcome(work: Callable[[], T]) -> tuple[T | None, Exception | None]:
    """A result, or an error that can be sent to other processes."""
    try:
        return work(), None
    except OutputError as error:
        return None, error
    except Exception as error:  # noqa: BLE001 the others wait for this process, whatever happened here
        return None, RuntimeError(repr(error))


def _gathered(value: T, group: Group = None) -> list[T]:
    if not dist.is_initialized():
        return [value]
    box: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(box, value, group=group)
    return box


@contextmanager
def _quiet() -> Iterator[None]:
    """Without torch's warning that one process writes alone."""
    if dist.is_initialized():  # filters are the whole process's: threads had better leave them
        yield
        return
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        yield
