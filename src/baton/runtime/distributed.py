"""Several processes that train as one: joined where torchrun or srun started them, else started here; what ends one ends all.

Input: `runtime.processes` and `runtime.launcher`. Output: the `Runtime` of this process. Rank 0 decides, writes and tracks; the others
compute, say nothing but errors, and end with it. docs/processes.md says how to use several machines.
"""

import contextlib
import datetime as dt
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

import torch
import torch.distributed as dist
from torch.distributed import Store, TCPStore  # type: ignore[attr-defined]
from torch.distributed.rendezvous import rendezvous

from baton import console, params
from baton.errors import ParamsError
from baton.processes import heartbeat, supervision, workers
from baton.processes.alarm import Alarm
from baton.runtime import launching
from baton.runtime.launching import LOCALHOST
from baton.runtime.resolve import Place, Runtime, Work, resolve

T = TypeVar("T")

MEETING = dt.timedelta(minutes=5)  # until all are there
EXCHANGE = dt.timedelta(
    days=30
)  # rank 0 may be writing meanwhile, for as long as it takes; who is gone is noticed otherwise
PARENT = "BATON_RANK_0"  # process id of the rank 0 that started this rank


@contextlib.contextmanager
def started(wanted: params.Runtime, work: Work | None = None) -> Iterator[Runtime]:
    """Join the processes that belong together, or start them, and give this one's runtime; at the end they part.

    `work` is what will be computed, see `runtime.resolve`.

    Raises:
        ParamsError: `runtime.processes` contradicts the launcher, or this machine has too few devices.
        TrainingError: another process ended before its time.
    """
    joined = _joined(wanted)
    if wanted.launcher and not joined:
        launching.run(wanted.launcher)
    runtime = resolve(wanted, joined or _place(wanted), work)
    if runtime.processes == 1:
        yield runtime
    elif PARENT in os.environ:
        with _following(runtime) as store, _group(runtime, store):
            yield runtime
    elif joined:
        with _launched(runtime) as store, _group(runtime, store):
            yield runtime
    else:
        with _leading(runtime.processes) as store, _group(runtime, store):
            yield runtime


def share(value: T) -> T:
    """Rank 0's value, on every rank."""
    if not dist.is_initialized():
        return value
    box = [value]
    dist.broadcast_object_list(box, device=torch.device("cpu"))
    return box[0]


def once(make: Callable[[], T]) -> T:
    """What rank 0 makes, on every rank."""
    if not dist.is_initialized():
        return make()
    return share([make()] if dist.get_rank() == 0 else [])[0]


def total(tensor: torch.Tensor) -> torch.Tensor:
    """Sum over ranks, the same bits on each; the tensor itself where there is one process."""
    if not dist.is_initialized():
        return tensor
    summed = tensor.detach().clone()
    dist.all_reduce(summed)
    return summed


def most(*numbers: int) -> list[int]:
    """The largest of each number over ranks, by way of the host: no device is waited for."""
    if not dist.is_initialized():
        return list(numbers)
    largest = torch.tensor(numbers)
    dist.all_reduce(largest, dist.ReduceOp.MAX)
    return largest.tolist()


def spread(tensor: torch.Tensor) -> None:
    """Put rank 0's values into a tensor of the same shape on every rank."""
    if dist.is_initialized():
        dist.broadcast(tensor, 0)


class HandedOut(Mapping[str, dict[str, torch.Tensor]]):
    """Rank 0's tensors, by part and name, on every rank's device: a part goes over when all ask for it, in the same order.

    Nothing is pickled, and no rank holds more of them at a time than it uses. Input: `own`, of rank 0 (elsewhere nothing is looked at).
    """

    def __init__(self, own: Mapping[str, Mapping[str, torch.Tensor]], device: torch.device) -> None:
        """Tell all what there is."""
        self.own, self.device = own, device
        shapes = {
            part: {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}
            for part, tensors in own.items()
        }
        self.shapes = share(shapes)

    def __getitem__(self, part: str) -> dict[str, torch.Tensor]:
        """Send, or receive."""
        handed = {}
        for name, (shape, dtype) in self.shapes[part].items():
            main = dist.get_rank() == 0
            tensor = (
                self.own[part][name].to(self.device)
                if main
                else torch.empty(shape, dtype=dtype, device=self.device)
            )
            spread(tensor)
            handed[name] = tensor
        return handed

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)


def barrier() -> None:
    """Wait until every rank is here."""
    total(torch.zeros(()))


def _joined(wanted: params.Runtime) -> Place | None:
    """The place that a launcher gave us: torchrun, srun, or rank 0 of our own."""
    place = launching.place(os.environ, len(os.sched_getaffinity(0)))
    if place and wanted.processes not in {1, "auto", place.size}:
        hint = "set it to 1 or auto where a launcher starts the processes"
        raise ParamsError(
            "runtime.processes contradicts the launcher",
            got=wanted.processes,
            expected=f"WORLD_SIZE {place.size}",
            hint=hint,
        )
    return place


def _place(wanted: params.Runtime) -> Place:
    """Rank 0 of the processes that params ask for."""
    if wanted.processes != "auto":
        return Place(size=wanted.processes, local_size=wanted.processes, reason="set in params")
    count = torch.cuda.device_count() if wanted.device != "cpu" and torch.cuda.is_available() else 0
    return Place(
        size=max(count, 1),
        local_size=max(count, 1),
        reason="one a CUDA device" if count else "one uses all processors",
    )


@contextlib.contextmanager
def _group(runtime: Runtime, store: Store) -> Iterator[None]:
    """The process group, which meets over `store`."""
    cuda = runtime.device.type == "cuda"
    backend = (
        "cpu:gloo,cuda:nccl" if cuda else "gloo"
    )  # what is on the host, such as a checkpoint, needs no memory of the device
    own = runtime.device if cuda else None
    dist.init_process_group(
        backend, timeout=MEETING, device_id=own, store=store, rank=runtime.rank, world_size=runtime.processes
    )
    dist.set_timeout(EXCHANGE)
    try:
        yield
    finally:
        if (
            not cuda or sys.exception() is None
        ):  # NCCL would wait for a rank that is gone, and the process ends anyway
            dist.destroy_process_group()


@contextlib.contextmanager
def _following(runtime: Runtime) -> Iterator[Store]:
    """A rank that rank 0 started, and with which it ends."""
    if not supervision.die_with_parent(signal.SIGKILL, int(os.environ[PARENT])):
        raise SystemExit(128 + signal.SIGTERM)
    _follow()
    store = TCPStore(LOCALHOST, int(os.environ["MASTER_PORT"]), is_master=False)
    store.set(str(runtime.rank), "ready")
    with Alarm().armed():
        yield store


@contextlib.contextmanager
def _launched(runtime: Runtime) -> Iterator[Store]:
    """A rank that torchrun or srun started, ours or one of its own."""
    if runtime.rank:
        _follow()
    alarm = Alarm()
    with alarm.armed():
        store = (
            launching.store(MEETING)
            if launching.launched()
            else next(rendezvous("env://", timeout=MEETING))[0]
        )
        store.set_timeout(MEETING)
        beats = heartbeat.Pulse(store, runtime.rank, runtime.processes, alarm)
        _on_devices_of_their_own(store, runtime)
        with beats.beating():
            yield store


def _follow() -> None:
    """Any rank but 0 says nothing, and leaves it to rank 0 when to stop."""
    console.silence()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


def _on_devices_of_their_own(store: Store, runtime: Runtime) -> None:
    """Wait until all have told their device.

    Raises:
        ParamsError: two have the same.
    """
    own = (
        str(torch.cuda.get_device_properties(runtime.device).uuid)
        if runtime.device.type == "cuda"
        else f"processor {runtime.rank}"
    )
    keys = [f"device {rank}" for rank in range(runtime.processes)]
    store.set(keys[runtime.rank], own)
    told = [value.decode() for value in store.multi_get(keys)]
    for rank, device in enumerate(told):
        if (first := told.index(device)) < rank:
            hint = "with torchrun, start at most one process a device; with srun, give each task its own (--gpus-per-task=1)"
            got = f"processes {first} and {rank} have the device {device}"
            raise ParamsError(
                "two processes of this training share a CUDA device", got=got, expected="one each", hint=hint
            )


@contextlib.contextmanager
def _leading(size: int) -> Iterator[Store]:
    """Start the other ranks as processes of the same command; they end with this one, and it with them."""
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # all are on this machine
    store = launching.kept(LOCALHOST)
    common: dict[str, int | str] = {
        "WORLD_SIZE": size,
        "LOCAL_WORLD_SIZE": size,
        "MASTER_ADDR": LOCALHOST,
        PARENT: os.getpid(),
    }
    common["MASTER_PORT"] = store.port
    others = workers.Ranks([common | {"RANK": rank, "LOCAL_RANK": rank} for rank in range(1, size)])
    with others.watched():
        others.meet(store.check)
        yield store
        others.part()
