"""What feeds the loop: batches of each step, prepared ahead.

On the CPU the loop prepares them itself, and on CUDA a thread beside it; where that is too slow by measurement, worker processes do. Those
hand batches over in shared memory, of which a container may have little: where it would not do, threads take their place.
"""

import dataclasses
import functools
import os
import shutil
import signal
import statistics
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import torch
from torch.utils.data import DataLoader, Dataset

from baton import console
from baton.processes import supervision
from baton.runtime.resolve import Runtime

Parts = list[tuple[Any, float]]

TRIAL = 24  # steps, after which is decided who prepares batches
SETTLING = 4  # of them that do not count
EASE = 0.5  # of a step's time, which one thread may take for a batch: it shares the interpreter with the loop
SPARE = 1.5  # times as many workers as would just do
AHEAD = 2  # batches that wait for each worker, as torch has it
SHARED = Path("/dev/shm")  # noqa: S108  where torch puts what processes share


class Batches(Protocol):
    """Batches as a pure function of the step; the same on every rank but for `micro_batches`."""

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in one pass over the data."""
        ...

    @property
    def mean_length(self) -> float:
        """Tokens of a sample."""
        ...

    def size(self, step: int) -> int:
        """Samples in the batch of global step `step` (from 0), over all ranks."""
        ...

    def names(self, step: int) -> list[str]:
        """Ids of these samples."""
        ...

    def micro_batches(self, step: int) -> Parts:
        """This rank's parts of it, each with its share of all samples; a part has `to(device)` and `shape`."""
        ...


class _Steps(Dataset[Parts]):
    """What torch's DataLoader asks for: step -> parts."""

    def __init__(self, batches: Batches) -> None:
        self.batches = batches

    def __getitem__(self, step: int) -> Parts:
        return self.batches.micro_batches(step)


def parts(batches: Batches, start: int, end: int, runtime: Runtime) -> Iterator[Parts]:
    """The parts of steps `start` to `end` - 1, prepared ahead and copied from pinned memory on CUDA; who prepares them changes no bit."""
    if runtime.loader_workers is None:
        return _measured(batches, start, end, runtime)
    if runtime.loader_workers == 0 or start == end:
        return _loaded(batches, start, end, runtime, 0)
    fitting = with_room(runtime.loader_workers, nbytes(batches.micro_batches(start)), room())
    if fitting < runtime.loader_workers:
        _say_room(runtime.loader_workers, fitting)
    return (
        _loaded(batches, start, end, runtime, fitting) if fitting else _threaded(batches, start, end, runtime)
    )


def workers(preparation: float, step: float, most: int) -> int:
    """How many processes prepare batches; 0: a thread of the loop's own process does.

    Args:
        preparation: seconds that a batch takes to prepare.
        step: seconds that a step takes, on the device too, when its batch is there.
        most: processors that are left for it.
    """
    if preparation <= EASE * step:
        return 0
    return max(0, min(most, int(-(-SPARE * preparation // max(step, 1e-6)))))


def figures(preparations: list[float], steps: list[float]) -> tuple[float, float]:
    """Seconds of a preparation and of a step for `workers`, from those of a trial.

    Medians, since a validation between two steps is no step; the first `SETTLING` do not count where there are more.
    """
    preparation, step = (
        statistics.median(seconds[SETTLING:] or seconds) for seconds in (preparations, steps)
    )
    return preparation, step


def with_room(wanted: int, batch: int, free: int) -> int:
    """How many worker processes' batches of `batch` bytes have room in `free` bytes of shared memory: `wanted` at most.

    Each has its waiting ones, and one is on its way to pinned memory.
    """
    return max(0, min(wanted, (free // max(batch, 1) - 1) // AHEAD))


def room() -> int:
    """Bytes of shared memory that are free; where it is not told, as much as anyone wants."""
    return shutil.disk_usage(SHARED).free if SHARED.is_dir() else 1 << 62


def nbytes(part: Any) -> int:
    """Bytes of all tensors in a batch, whatever it is made of."""
    if isinstance(part, torch.Tensor):
        return part.nbytes
    if isinstance(part, list | tuple):
        return sum(map(nbytes, part))
    if dataclasses.is_dataclass(part):
        return sum(nbytes(getattr(part, field.name)) for field in dataclasses.fields(part))
    return 0


# ---- how -----------------------------------------------------------------------------------------------------------------------


def _loaded(batches: Batches, start: int, end: int, runtime: Runtime, count: int) -> Iterator[Parts]:
    """By `count` worker processes; 0: by whoever asks, when they ask."""
    loader = DataLoader(
        _Steps(batches),
        batch_size=None,
        sampler=range(start, end),
        num_workers=count,
        worker_init_fn=functools.partial(_begin_worker, os.getpid()),
        pin_memory=runtime.device.type == "cuda",
        generator=torch.Generator(),  # else it would draw from the global one
        collate_fn=_as_it_is,
    )
    return iter(loader)


def _threaded(
    batches: Batches, start: int, end: int, runtime: Runtime, spent: list[float] | None = None
) -> Iterator[Parts]:
    """By a thread, `AHEAD` steps at most; seconds of each batch are added to `spent`."""

    def prepared(step: int) -> Parts:
        begun = time.perf_counter()
        made = batches.micro_batches(step)
        if runtime.device.type == "cuda":
            made = [(part.pin_memory(), share) for part, share in made]
        if spent is not None:
            spent.append(time.perf_counter() - begun)
        return made

    with ThreadPoolExecutor(1, "batches") as thread:
        waiting = deque(thread.submit(prepared, step) for step in range(start, min(start + AHEAD, end)))
        try:
            for step in range(start, end):
                made = waiting.popleft().result()
                if step + AHEAD < end:
                    waiting.append(thread.submit(prepared, step + AHEAD))
                yield made
        finally:
            thread.shutdown(wait=False, cancel_futures=True)


def _measured(batches: Batches, start: int, end: int, runtime: Runtime) -> Iterator[Parts]:
    """By a thread, and after `TRIAL` steps by as many worker processes as it takes."""
    trial = min(start + TRIAL, end)
    spent: list[float] = []
    steps: list[float] = []  # seconds from a batch's being there to the end of its step on the device
    largest = 0
    for made in _threaded(batches, start, trial, runtime, spent):
        largest = max(largest, nbytes(made))
        begun = _now(runtime)
        yield made
        steps.append(_now(runtime) - begun)
    if trial == end:
        return
    preparation, step = figures(spent, steps)
    wanted = workers(preparation, step, runtime.threads - 1)
    fitting = with_room(wanted, largest, room())
    found = f"a batch takes {1000 * preparation:.0f} ms to prepare, a step {1000 * step:.0f} ms"
    who = f"{fitting} process{'es' if fitting > 1 else ''}" if fitting else "a thread"
    console.say(f"loader_workers: {who}: {found}")
    if fitting < wanted:
        _say_room(wanted, fitting)
    yield from (
        _loaded(batches, trial, end, runtime, fitting) if fitting else _threaded(batches, trial, end, runtime)
    )


def _now(runtime: Runtime) -> float:
    """Seconds, when the device has done what it was given: CUDA computes behind the host's back, where a step is only launched."""
    if runtime.device.type == "cuda":
        torch.cuda.synchronize(runtime.device)
    return time.perf_counter()


def _say_room(wanted: int, fitting: int) -> None:
    instead = f"{fitting} do" if fitting else "a thread does"
    hint = "give the container more, such as `docker run --shm-size=8g`"
    console.say(
        f"{SHARED} has {room() / 1e6:,.0f} MB left, too little for the batches of {wanted} workers: {instead} instead; {hint}"
    )


def _begin_worker(parent: int, _worker: int) -> None:
    """A worker process ends with the training: not before its last step, and not after it was killed."""
    supervision.die_with_parent(signal.SIGKILL, parent)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


def _as_it_is(parts: Parts) -> Parts:
    return parts
