"""Copy a training run's tensors to host memory at one moment, so that training continues during the write.

The copies use one block of memory, kept from one checkpoint to the next, since new memory costs more than the
copy. For tensors on CUDA it is pinned: the device's queue then runs the copies after the step that made the
values and before the one that changes them, without the host.
"""

import contextlib
from collections.abc import Callable, Mapping

import torch
from torch.cuda import _pin_memory_utils as pinning

from baton import console
from baton.runtime import memory

Parts = Mapping[str, Mapping[str, torch.Tensor]]

ALIGNMENT = 64  # bytes: a cache line, and a multiple of every element's size
# Share of free memory that a snapshot may take: training needs some, and so does the system to write files.
SHARE = 0.75


def size(parts: Parts) -> int:
    """Return the bytes of all tensors."""
    return sum(tensor.nbytes for tensors in parts.values() for tensor in tensors.values())


class Snapshot:
    """The memory for one snapshot at a time."""

    def __init__(self, processes: int = 1) -> None:
        """Allocate nothing yet; `processes` is how many on this machine take as much at the same time."""
        self._processes = processes
        self._block = torch.empty(0, dtype=torch.uint8)
        self._pinned = self._warned = False

    def take(self, parts: Parts) -> tuple[Parts, Callable[[], None]] | None:
        """Copy all tensors; they may change as soon as this returns. Copies are valid until the next call.

        Returns:
            The copies, and a function that waits for them, to be called before they are read. None if they do
            not fit into memory.
        """
        places = _places(parts)
        wanted = max((end for part in places.values() for _, end in part.values()), default=0)
        on_device = any(tensor.is_cuda for tensors in parts.values() for tensor in tensors.values())
        if wanted > len(self._block) and not self._grow(wanted, on_device):
            return None
        copies = {
            part: {name: self._copy(tensor, places[part][name]) for name, tensor in parts[part].items()}
            for part in parts
        }
        if not on_device:
            return copies, lambda: None
        event, device = torch.cuda.Event(blocking=True), torch.cuda.current_device()  # type: ignore[no-untyped-call]
        event.record()

        def ready() -> None:
            # A new thread uses the first device, where it would take memory for another context.
            torch.cuda.set_device(device)
            event.synchronize()

        return copies, ready

    def free(self) -> None:
        """Free the memory; the copies become invalid. Raise nothing, so as not to hide an earlier error."""
        if self._pinned:
            try:
                pinning.unpin_memory(self._block.data_ptr())
            except AssertionError as error:
                _take_error()
                console.warn("checkpoint", f"the memory of its copy stays pinned ({error})")
        self._block, self._pinned = torch.empty(0, dtype=torch.uint8), False

    def _grow(self, wanted: int, pin: bool) -> bool:
        """Replace the block by one of `wanted` bytes; return False if the machine has too little memory."""
        self.free()
        if refused := too_large(wanted, self._processes, memory.available()):
            return self._refuse(refused)
        try:
            self._block = block = torch.empty(wanted, dtype=torch.uint8)
        except RuntimeError:  # a limit on addresses, which cannot be queried beforehand
            return self._refuse(
                f"the system does not allocate the {wanted / 1e9:,.1f} GB for a copy of the checkpoint"
            )
        if pin:
            try:  # not with torch's pinned allocator, which rounds up to a power of two
                pinning.pin_memory(block.data_ptr(), wanted)
                self._pinned = True
            except RuntimeError as error:  # a limit on locked memory
                _take_error()
                console.warn(
                    "checkpoint", f"{wanted / 1e9:,.1f} GB cannot be pinned, so the copy is slower ({error})"
                )
        return True

    def _refuse(self, why: str) -> bool:
        if not self._warned:
            console.warn("checkpoint", f"{why}, so training waits while each checkpoint is written")
            self._warned = True
        return False

    def _copy(self, tensor: torch.Tensor, place: tuple[int, int]) -> torch.Tensor:
        start, end = place
        copy = self._block[start:end].view(tensor.dtype).view(tensor.shape)
        return copy.copy_(tensor.detach(), non_blocking=True)


def too_large(wanted: int, processes: int, free: int) -> str | None:
    """Return why `wanted` bytes in each of `processes` are too many if `free` are; None if they are not."""
    if wanted * processes <= SHARE * free:
        return None
    each = f"{wanted / 1e9:,.1f} GB" if processes == 1 else f"{processes} times {wanted / 1e9:,.1f} GB"
    return (
        f"a copy of the checkpoint takes {each}, "
        f"more than {SHARE:.0%} of the {free / 1e9:,.1f} GB that are free"
    )


def _take_error() -> None:
    """Clear CUDA's error state after a failed call in this thread.

    Otherwise the check after the next launch would attribute the error to that launch. Torch has no call for
    this, but its check reads the error and clears it (`C10_CUDA_CHECK` in c10/cuda/CUDAException.h). An error
    that broke the device recurs with the next call.
    """
    with contextlib.suppress(RuntimeError, AssertionError):
        torch.empty(1, device="cuda").fill_(0)


def _places(parts: Parts) -> dict[str, dict[str, tuple[int, int]]]:
    """Return where each tensor goes in the block: its first byte and the one after its last."""
    places: dict[str, dict[str, tuple[int, int]]] = {}
    start = 0
    for part, tensors in parts.items():
        places[part] = {}
        for name, tensor in tensors.items():
            places[part][name] = (start, start + tensor.nbytes)
            start += -(-tensor.nbytes // ALIGNMENT) * ALIGNMENT
    return places
