"""Several processes that train as one: joined where torchrun started them, else started here; what ends one ends all.

Input: `runtime.processes`. Output: the `Runtime` of this process. Rank 0 decides, writes and tracks; the others compute, say nothing but
errors, and end with it. Several machines: `torchrun --nnodes … -m stages.finetune` on each.
"""

import contextlib
import datetime as dt
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch.distributed import Store, TCPStore  # type: ignore[attr-defined]

from baton import console, params, process, ranks
from baton.errors import ParamsError
from baton.runtime import Place, Runtime, resolve

T = TypeVar("T")

TIMEOUT = dt.timedelta(minutes=10)  # of an exchange: rank 0 may be writing meanwhile
PARENT = "BATON_RANK_0"  # process id of the rank 0 that started this rank
LOCALHOST = "127.0.0.1"


@contextlib.contextmanager
def started(wanted: params.Runtime) -> Iterator[Runtime]:
    """Join the processes that belong together, or start them, and give this one's runtime; at the end they part.

    Raises:
        ParamsError: `runtime.processes` contradicts the launcher, or this machine has too few devices.
        TrainingError: another process ended before its time.
    """
    joined = _joined(wanted)
    runtime = resolve(wanted, joined or _place(wanted))
    if runtime.processes == 1:
        yield runtime
    elif joined:
        with _beside(joined), _group(runtime, _store_of_rank_0()):
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


def barrier() -> None:
    """Wait until every rank is here."""
    total(torch.zeros(()))


def _joined(wanted: params.Runtime) -> Place | None:
    """The place that a launcher gave us: torchrun, or rank 0 of our own."""
    if not {"RANK", "WORLD_SIZE"} <= os.environ.keys():
        return None
    size = int(os.environ["WORLD_SIZE"])
    if wanted.processes not in {1, "auto", size}:
        hint = "set it to 1 or auto where torchrun starts the processes"
        raise ParamsError("runtime.processes contradicts the launcher", got=wanted.processes, expected=f"WORLD_SIZE {size}", hint=hint)
    local, local_size = int(os.environ.get("LOCAL_RANK", "0")), int(os.environ.get("LOCAL_WORLD_SIZE", size))
    return Place(int(os.environ["RANK"]), local, size, local_size, "set by the launcher (WORLD_SIZE)")


def _place(wanted: params.Runtime) -> Place:
    """Rank 0 of the processes that params ask for."""
    if wanted.processes != "auto":
        return Place(size=wanted.processes, local_size=wanted.processes, reason="set in params")
    count = torch.cuda.device_count() if wanted.device != "cpu" and torch.cuda.is_available() else 0
    return Place(size=max(count, 1), local_size=max(count, 1), reason="one a CUDA device" if count else "one uses all processors")


@contextlib.contextmanager
def _group(runtime: Runtime, store: Store | None) -> Iterator[None]:
    """The process group, over `store` or as the launcher's environment says."""
    cuda = runtime.device.type == "cuda"
    place: dict[str, Any] = {"store": store, "rank": runtime.rank, "world_size": runtime.processes} if store else {}
    backend = "cpu:gloo,cuda:nccl" if cuda else "gloo"  # what is on the host, such as a checkpoint, needs no memory of the device
    dist.init_process_group(backend, timeout=TIMEOUT, device_id=runtime.device if cuda else None, **place)
    try:
        yield
    finally:
        if not cuda or sys.exception() is None:  # NCCL would wait for a rank that is gone, and the process ends anyway
            dist.destroy_process_group()


@contextlib.contextmanager
def _beside(place: Place) -> Iterator[None]:
    """A process that a launcher started: any but rank 0 leaves it to rank 0 when to stop, and ends with it."""
    parent = os.environ.get(PARENT)
    if parent and not process.die_with_parent(signal.SIGKILL, int(parent)):
        raise SystemExit(128 + signal.SIGTERM)
    if place.rank:
        console.silence()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
    try:
        yield
    except RuntimeError as error:
        if lost := ranks.lost(error):
            raise lost from error
        raise


def _store_of_rank_0() -> Store | None:
    """Where ranks of our own meet; None: where torchrun says."""
    if PARENT not in os.environ:
        return None
    store = TCPStore(LOCALHOST, int(os.environ["MASTER_PORT"]), is_master=False)
    store.set(os.environ["RANK"], "ready")
    return store


@contextlib.contextmanager
def _leading(size: int) -> Iterator[Store]:
    """Start the other ranks as processes of the same command; they end with this one, and it with them."""
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # all are on this machine
    listener = socket.create_server((LOCALHOST, 0))  # out of other machines' reach
    port = listener.getsockname()[1]
    store = TCPStore(LOCALHOST, port, is_master=True, master_listen_fd=listener.detach(), wait_for_workers=False)
    common = {"WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size, "MASTER_ADDR": LOCALHOST, "MASTER_PORT": port, PARENT: os.getpid()}
    others = ranks.Ranks([common | {"RANK": rank, "LOCAL_RANK": rank} for rank in range(1, size)])
    with others.watched():
        others.meet(store.check)
        yield store
        others.part()
