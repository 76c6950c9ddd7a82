"""What feeds the loop: batches of each step, prepared ahead."""

import functools
import os
import signal
from collections.abc import Iterator
from typing import Any, Protocol

import torch
from torch.utils.data import DataLoader, Dataset

from baton import process
from baton.runtime import Runtime


class Batches(Protocol):
    """Batches as a pure function of the step; the same on every rank but for `micro_batches`."""

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in one pass over the data."""
        ...

    def size(self, step: int) -> int:
        """Samples in the batch of global step `step` (from 0), over all ranks."""
        ...

    def names(self, step: int) -> list[str]:
        """Ids of these samples."""
        ...

    def micro_batches(self, step: int) -> list[tuple[Any, float]]:
        """This rank's parts of it, each with its share of all samples; a part has `to(device)` and `shape`."""
        ...


class _Steps(Dataset[list[tuple[Any, float]]]):
    """What torch's DataLoader asks for: step -> parts."""

    def __init__(self, batches: Batches) -> None:
        self.batches = batches

    def __getitem__(self, step: int) -> list[tuple[Any, float]]:
        return self.batches.micro_batches(step)


def parts(batches: Batches, start: int, end: int, runtime: Runtime) -> Iterator[list[tuple[Any, float]]]:
    """The parts of steps `start` to `end` - 1, prepared ahead by worker processes and copied from pinned memory on CUDA."""
    loader = DataLoader(
        _Steps(batches),
        batch_size=None,
        sampler=range(start, end),
        num_workers=runtime.loader_workers,
        worker_init_fn=functools.partial(_begin_worker, os.getpid()),
        pin_memory=runtime.device.type == "cuda",
        generator=torch.Generator(),  # else it would draw from the global one
        collate_fn=_as_it_is,
    )
    return iter(loader)


def _begin_worker(parent: int, _worker: int) -> None:
    """A worker process ends with the training: not before its last step, and not after it was killed."""
    process.die_with_parent(signal.SIGKILL, parent)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


def _as_it_is(parts: list[tuple[Any, float]]) -> list[tuple[Any, float]]:
    return parts
