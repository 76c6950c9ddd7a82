"""Memory: the most that a training held, what is free, and a lack of it explained."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import psutil
import torch

from baton.errors import TrainingError

OUT_OF_MEMORY = (
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDA error: out of memory",
    "can't allocate memory",
)  # what torch says where it has no type for it
LOWER = {
    "training": "raise accumulation (the same training in smaller parts, but for batch normalisation), set runtime.gradient_checkpointing, "
    "or lower batch_size or tokenize.max_length (of texts) or size (of images)",
    "prediction": "lower batch_size (of finetune, distill or evaluate.speed) or tokenize.max_length (of texts) or size (of images)",
}


def peak_memory() -> int:
    """The most bytes that this process has held since `reset_peak`.

    Where CUDA is in use, tensors allocated on the device. Else resident memory, all of it: with Python, pages of mapped files, and the copy
    that a checkpoint is written from, which is as large as the checkpoint (with AdamW about four times the weights: the weights, the best
    ones, two moments).
    """
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return int(torch.cuda.max_memory_allocated())
    status = Path("/proc/self/status").read_text(
        encoding="ascii"
    )  # getrusage() may tell of the process that this one was forked from
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))


def reset_peak() -> None:
    """Let `peak_memory` begin anew, from what is held now."""
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.reset_peak_memory_stats()
    with contextlib.suppress(
        OSError
    ):  # "5" resets VmHWM, see proc_pid_clear_refs(5); a container may forbid it
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def available(groups: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> int:
    """Bytes that this process may still take without swapping: of the machine, and of its control groups (a container's or a job's limit).

    Args:
        groups: where control groups (version 2) are mounted.
        own: names this process's group.
    """
    free = int(psutil.virtual_memory().available)
    with contextlib.suppress(OSError, StopIteration):
        name = next(
            line[3:] for line in own.read_text(encoding="ascii").splitlines() if line.startswith("0::")
        ).lstrip("/")
        for group in ((groups / name), *(groups / name).parents):
            if not group.is_relative_to(groups):
                break
            with contextlib.suppress(OSError, ValueError):  # the root has no limit, and "max" is none
                limit = int((group / "memory.max").read_text(encoding="ascii"))
                counts = dict(
                    line.split() for line in (group / "memory.stat").read_text(encoding="ascii").splitlines()
                )
                used = int((group / "memory.current").read_text(encoding="ascii")) - int(
                    counts["inactive_file"]
                )  # which files can give up
                free = min(free, max(limit - used, 0))
    return free


@contextlib.contextmanager
def explained_memory(work: Literal["training", "prediction"], shape: tuple[int, int]) -> Iterator[None]:
    """Tell what a batch of this shape (batch, length) lacked memory for, and what to lower.

    Raises:
        TrainingError: memory ran out, of the device or of the machine.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not isinstance(error, torch.OutOfMemoryError | MemoryError) and not any(
            sign in str(error) for sign in OUT_OF_MEMORY
        ):
            raise
        first, *_ = str(error).splitlines() or [type(error).__name__]
        raise TrainingError(
            f"{work} ran out of memory on a batch of {shape[0]} samples of length {shape[1]}",
            got=f"{first} (peak so far: {peak_memory() / 2**30:.2f} GiB)",
            hint=LOWER[work],
        ) from error
