"""Run several processes as one training run; whatever ends one of them ends them all.

Processes that torchrun or srun started join each other; otherwise they are started here. Input:
`runtime.processes` and `runtime.launcher`. Output: the `Runtime` of this process. Rank 0 decides, writes and
tracks; the other ranks compute, print only errors, and end with rank 0. docs/processes.md describes how to
use several machines.
"""

import contextlib
import datetime as dt
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch.distributed import Store, TCPStore  # type: ignore[attr-defined]
from torch.distributed.rendezvous import rendezvous

from baton import console, params, processors
from baton.errors import ParamsError
from baton.processes import heartbeat, supervision, workers
from baton.processes.alarm import Alarm
from baton.runtime import exchange, launching
from baton.runtime.launching import LOCALHOST
from baton.runtime.resolve import Place, Runtime, Work, resolve

T = TypeVar("T")

MEETING = dt.timedelta(minutes=5)  # how long to wait until all processes have joined
# Rank 0 may be writing in the meantime, for as long as it takes; lost processes are detected by other means.
EXCHANGE = dt.timedelta(days=30)
PARENT = "BATON_RANK_0"  # process id of the rank 0 that started this rank


@contextlib.contextmanager
def started(wanted: params.Runtime, work: Work | None = None) -> Iterator[Runtime]:
    """Join or start the processes of this run, yield this process's runtime, and leave the group at the end.

    `work` describes the computation; see `runtime.resolve`.

    Raises:
        ParamsError: `runtime.processes` contradicts the launcher, or this machine has too few devices.
        TrainingError: another process ended prematurely.
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
    """Return rank 0's value, of the kind that `exchange` sends, on every rank."""
    if not dist.is_initialized():
        return value
    shared: T = exchange.share(value)
    return shared


def once(make: Callable[[], T]) -> T:
    """Call `make` on rank 0 only, and return its result, of the kind that `exchange` sends, on every rank."""
    if not dist.is_initialized():
        return make()
    made: T = exchange.share(make() if dist.get_rank() == 0 else None)
    return made


def once_arrays(make: Callable[[], Mapping[str, NDArray[Any]]]) -> Mapping[str, NDArray[Any]]:
    """Call `make` on rank 0 only, and return its arrays of numbers on every rank."""
    if not dist.is_initialized():
        return make()
    return exchange.share_arrays(make() if dist.get_rank() == 0 else None)


def total(tensor: torch.Tensor) -> torch.Tensor:
    """Return the sum over ranks, bitwise equal on each; with a single process, the tensor itself."""
    if not dist.is_initialized():
        return tensor
    summed = tensor.detach().clone()
    dist.all_reduce(summed)
    return summed


def most(*numbers: int) -> list[int]:
    """Return the maximum of each number over ranks, exchanged via the host without waiting for a device."""
    if not dist.is_initialized():
        return list(numbers)
    largest = torch.tensor(numbers)
    dist.all_reduce(largest, dist.ReduceOp.MAX)
    return largest.tolist()


def spread(tensor: torch.Tensor) -> None:
    """Copy rank 0's values into a tensor of the same shape on every rank."""
    if dist.is_initialized():
        dist.broadcast(tensor, 0)


class HandedOut(Mapping[str, dict[str, torch.Tensor]]):
    """Rank 0's tensors, by part and name, on every rank's device.

    A part is sent when all ranks ask for it; they must ask in the same order. Nothing is pickled, and no rank
    holds more tensors at a time than it uses. Input: rank 0's `own`; the other ranks' is ignored.
    """

    def __init__(self, own: Mapping[str, Mapping[str, torch.Tensor]], device: torch.device) -> None:
        """Announce the available tensors to all ranks."""
        self.own, self.device = own, device
        shapes = {
            part: {name: exchange.described(tensor) for name, tensor in tensors.items()}
            for part, tensors in own.items()
        }
        self.shapes = share(shapes)

    def __getitem__(self, part: str) -> dict[str, torch.Tensor]:
        """Send the part, or receive it."""
        handed = {}
        for name, description in self.shapes[part].items():
            main = dist.get_rank() == 0
            tensor = self.own[part][name].to(self.device) if main else exchange.like(description, self.device)
            spread(tensor)
            handed[name] = tensor
        return handed

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)


def barrier() -> None:
    """Wait until every rank has arrived."""
    total(torch.zeros(()))


def _joined(wanted: params.Runtime) -> Place | None:
    """Return the place assigned by torchrun, srun or our own rank 0; None if there is none."""
    place = launching.place(os.environ, processors.available())
    if place and wanted.processes not in {1, "auto", place.size}:
        hint = "set it to 1 or auto when a launcher starts the processes"
        raise ParamsError(
            "runtime.processes contradicts the launcher",
            got=wanted.processes,
            expected=f"WORLD_SIZE {place.size}",
            hint=hint,
        )
    return place


def _place(wanted: params.Runtime) -> Place:
    """Return the place of rank 0 among the processes that params ask for."""
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
    """Hold the process group, whose members meet through `store`."""
    cuda = runtime.device.type == "cuda"
    # gloo as well: exchanging data on the host, such as a checkpoint, then needs no device memory.
    backend = "cpu:gloo,cuda:nccl" if cuda else "gloo"
    own = runtime.device if cuda else None
    dist.init_process_group(
        backend, timeout=MEETING, device_id=own, store=store, rank=runtime.rank, world_size=runtime.processes
    )
    dist.set_timeout(EXCHANGE)
    try:
        yield
    finally:
        # After an error NCCL would wait for a lost rank, and the process ends anyway.
        if not cuda or sys.exception() is None:
            dist.destroy_process_group()


@contextlib.contextmanager
def _following(runtime: Runtime) -> Iterator[Store]:
    """Run as a rank that rank 0 started and that ends with it."""
    if not supervision.die_with_parent(signal.SIGKILL, int(os.environ[PARENT])):
        raise SystemExit(128 + signal.SIGTERM)
    _follow()
    store = TCPStore(LOCALHOST, int(os.environ["MASTER_PORT"]), is_master=False)
    store.set(str(runtime.rank), "ready")
    with Alarm().armed():
        yield store


@contextlib.contextmanager
def _launched(runtime: Runtime) -> Iterator[Store]:
    """Run as a rank that torchrun or srun started, whether the stage or the user started the launcher."""
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
    """Silence a rank other than 0, and leave it to rank 0 when to stop."""
    console.silence()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


def _on_devices_of_their_own(store: Store, runtime: Runtime) -> None:
    """Wait until all ranks have reported their device.

    Raises:
        ParamsError: two ranks have the same device.
    """
    own = (
        str(torch.cuda.get_device_properties(runtime.device).uuid)
        if runtime.device.type == "cuda"
        else f"processor {runtime.rank}"
    )
    keys = [f"device {rank}" for rank in range(runtime.processes)]
    store.set(keys[runtime.rank], own)
    devices = [value.decode() for value in store.multi_get(keys)]
    for rank, device in enumerate(devices):
        if (first := devices.index(device)) < rank:
            hint = (
                "with torchrun, start at most one process per device; "
                "with srun, give each task its own device (--gpus-per-task=1)"
            )
            got = f"processes {first} and {rank} both use device {device}"
            expected = "one device each"
            raise ParamsError(
                "two processes of this training run share a CUDA device",
                got=got,
                expected=expected,
                hint=hint,
            )


@contextlib.contextmanager
def _leading(size: int) -> Iterator[Store]:
    """Start the other ranks with the same command; if any process ends, the others end with it."""
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # all processes are on this machine
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
