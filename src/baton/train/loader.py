"""Prepare the batches of each step ahead of the loop.

On the CPU the loop prepares them itself; on CUDA a thread does, or worker processes if measurement shows that
a thread is too slow. Worker processes pass batches through shared memory, of which a container may have
little; if it is not enough, a thread takes their place.
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
from baton.contracts.batch import Batch
from baton.processes import supervision
from baton.runtime.resolve import Runtime

Parts = list[tuple[Batch, float]]  # parts of a step, each with its share of all targets

TRIAL = 24  # steps before deciding what prepares batches
SETTLING = 4  # trial steps that do not count
EASE = 0.5  # share of a step's time that a thread may take per batch: it shares the interpreter with the loop
SPARE = 1.5  # times as many workers as strictly needed
AHEAD = 2  # batches queued per worker, as in torch
SHARED = Path("/dev/shm")  # noqa: S108  where torch puts memory shared between processes


class Batches(Protocol):
    """Batches as a pure function of the step; the same on every rank, except for `micro_batches`."""

    @property
    def steps_per_epoch(self) -> int:
        """Return the optimizer steps in one pass over the data."""
        ...

    @property
    def mean_length(self) -> float:
        """Return the mean number of tokens per sample."""
        ...

    def size(self, step: int) -> int:
        """Return the number of samples in global step `step` (from 0), over all ranks."""
        ...

    def names(self, step: int) -> list[str]:
        """Return the ids of these samples."""
        ...

    def micro_batches(self, step: int) -> Parts:
        """Return this rank's parts of the batch, each with its share of all targets."""
        ...


class _Steps(Dataset[Parts]):
    """The dataset for torch's DataLoader: step -> parts."""

    def __init__(self, batches: Batches) -> None:
        self.batches = batches

    def __getitem__(self, step: int) -> Parts:
        return self.batches.micro_batches(step)


def parts(batches: Batches, start: int, end: int, runtime: Runtime) -> Iterator[Parts]:
    """Yield the parts of steps `start` to `end` - 1, prepared ahead; on CUDA they are in pinned memory.

    The way they are prepared does not change a bit of them.
    """
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
    """Return how many processes should prepare batches; 0 means a thread in the loop's process.

    Args:
        preparation: seconds to prepare a batch.
        step: seconds of a step, including the device's work, once its batch is ready.
        most: processors left for workers.
    """
    if preparation <= EASE * step:
        return 0
    return max(0, min(most, int(-(-SPARE * preparation // max(step, 1e-6)))))


def figures(preparations: list[float], steps: list[float]) -> tuple[float, float]:
    """Return the seconds of a preparation and of a step for `workers`, from the timings of a trial.

    These are medians, since a validation may fall between two steps; the first `SETTLING` do not count if
    there are more.
    """
    preparation, step = (
        statistics.median(seconds[SETTLING:] or seconds) for seconds in (preparations, steps)
    )
    return preparation, step


def with_room(wanted: int, batch: int, free: int) -> int:
    """Return how many workers, up to `wanted`, have room for their batches in shared memory.

    There are `free` bytes, and a batch has `batch` bytes. Each worker has its queued batches, and one more
    batch is being copied to pinned memory.
    """
    return max(0, min(wanted, (free // max(batch, 1) - 1) // AHEAD))


def room() -> int:
    """Return the free bytes of shared memory; if unknown, a number that no batch exceeds."""
    return shutil.disk_usage(SHARED).free if SHARED.is_dir() else 1 << 62


def nbytes(part: Any) -> int:
    """Return the bytes of all tensors in a batch of tensors, lists, tuples or dataclasses."""
    if isinstance(part, torch.Tensor):
        return part.nbytes
    if isinstance(part, list | tuple):
        return sum(map(nbytes, part))
    if dataclasses.is_dataclass(part):
        return sum(nbytes(getattr(part, field.name)) for field in dataclasses.fields(part))
    return 0


# ---- the ways to prepare batches
# -------------------------------------------------------------------------------


def _loaded(batches: Batches, start: int, end: int, runtime: Runtime, count: int) -> Iterator[Parts]:
    """Prepare batches in `count` worker processes; with 0, in the caller's, on request."""
    loader = DataLoader(
        _Steps(batches),
        batch_size=None,
        sampler=range(start, end),
        num_workers=count,
        worker_init_fn=functools.partial(_begin_worker, os.getpid()),
        pin_memory=runtime.device.type == "cuda",
        generator=torch.Generator(),  # otherwise it would draw from the global one
        collate_fn=_as_it_is,
    )
    return iter(loader)


def _threaded(
    batches: Batches, start: int, end: int, runtime: Runtime, spent: list[float] | None = None
) -> Iterator[Parts]:
    """Prepare batches in a thread, at most `AHEAD` steps ahead; append their seconds to `spent`."""

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
    """Prepare batches in a thread for `TRIAL` steps, then in as many worker processes as needed."""
    trial = min(start + TRIAL, end)
    spent: list[float] = []
    steps: list[float] = []  # seconds from the time a batch is ready to the end of its step on the device
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
    """Return the time in seconds, once the device is done: with CUDA, a step is only launched on the host."""
    if runtime.device.type == "cuda":
        torch.cuda.synchronize(runtime.device)
    return time.perf_counter()


def _say_room(wanted: int, fitting: int) -> None:
    instead = str(fitting) if fitting else "a thread"
    hint = "give the container more, for example with `docker run --shm-size=8g`"
    console.say(
        f"{SHARED} has {room() / 1e6:,.0f} MB left, too little for the batches of {wanted} workers: "
        f"using {instead} instead; {hint}"
    )


def _begin_worker(parent: int, _worker: int) -> None:
    """Let a worker process live as long as training: it ignores signals, and dies if its parent is killed."""
    supervision.die_with_parent(signal.SIGKILL, parent)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


def _as_it_is(parts: Parts) -> Parts:
    return parts
