"""Measure peak and available memory, and explain out-of-memory errors."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import psutil
import torch

from baton.errors import TrainingError

# Messages of torch's out-of-memory errors that have no exception type.
OUT_OF_MEMORY = (
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDA error: out of memory",
    "can't allocate memory",
)
LOWER = {
    "training": "raise accumulation (the same training run in smaller parts, "
    "except for batch normalisation), set runtime.gradient_checkpointing, "
    "or lower batch_size or tokenize.max_length (for texts) or size (for images)",
    "prediction": "lower batch_size (of finetune, distill or evaluate.speed) "
    "or tokenize.max_length (for texts) or size (for images)",
}


def peak_memory() -> int:
    """Return the most bytes that this process has held since `reset_peak`.

    If CUDA is in use, this counts tensors allocated on the device. Otherwise it is all resident memory:
    Python, pages of mapped files, and the copy that a checkpoint is written from, which is as large as the
    checkpoint (with AdamW about four times the weights: the weights, the best weights, two moments).
    """
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return int(torch.cuda.max_memory_allocated())
    # getrusage() may report the peak of the process that this one was forked from.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))


def device() -> str:
    """Return whose memory `peak_memory` counts: `cuda`, or `cpu` for the host."""
    return "cuda" if torch.cuda.is_initialized() else "cpu"  # type: ignore[no-untyped-call]


_highest: dict[str, int] = {}  # `device` -> the peak before the last `reset_peak`


def highest() -> int:
    """Return the most bytes that this process has ever held, counted as by `peak_memory`."""
    return max(peak_memory(), _highest.get(device(), 0))


def reset_peak() -> None:
    """Reset `peak_memory` to the memory held now."""
    _highest[device()] = highest()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.reset_peak_memory_stats()
    with contextlib.suppress(OSError):  # a container may forbid it
        # "5" resets VmHWM, see proc_pid_clear_refs(5).
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def available(groups: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> int:
    """Return the bytes that this process may still allocate without swapping.

    Both the machine's free memory and the limits of this process's control groups (a container's or a job's)
    count.

    Args:
        groups: mount point of control groups (version 2).
        own: file that names this process's group.
    """
    free = int(psutil.virtual_memory().available)
    with contextlib.suppress(OSError, StopIteration):
        name = next(
            line[3:] for line in own.read_text(encoding="ascii").splitlines() if line.startswith("0::")
        ).lstrip("/")
        for group in ((groups / name), *(groups / name).parents):
            if not group.is_relative_to(groups):
                break
            with contextlib.suppress(OSError, ValueError):  # the root has no limit, and "max" means no limit
                limit = int((group / "memory.max").read_text(encoding="ascii"))
                counts = dict(
                    line.split() for line in (group / "memory.stat").read_text(encoding="ascii").splitlines()
                )
                current = int((group / "memory.current").read_text(encoding="ascii"))
                used = current - int(counts["inactive_file"])  # file pages can be reclaimed
                free = min(free, max(limit - used, 0))
    return free


@contextlib.contextmanager
def explained_memory(work: Literal["training", "prediction"], shape: tuple[int, int]) -> Iterator[None]:
    """Explain an out-of-memory error on a batch of this shape (batch, length), and suggest what to lower.

    Raises:
        TrainingError: the device or the machine ran out of memory.
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
