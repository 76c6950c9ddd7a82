"""Which errors are those of torch's compiler: it would fail again, where a lack of memory or a full disk may pass.

Input: what a compiled pass raised. Output: whether to remember it, for `train/compiling.py`.
"""

import errno
import os
import subprocess

import torch

from baton.errors import BatonError

COMPILER = {
    "torch._dynamo",
    "torch._functorch",
    "torch._inductor",
    "triton",
}  # packages whose errors are a compiler's own
FULL = os.strerror(errno.ENOSPC)  # as a C compiler says it too


def is_compilers(error: BaseException) -> bool:
    """Whether an error is of the compiler itself, which will fail again, and not of the machine as it was then (memory, disk, processes).

    What caused it, and what inductor has wrapped in it, are looked at too.
    """
    found: list[BaseException] = []
    left: list[BaseException | None] = [error]
    while left:
        if (one := left.pop()) is not None and one not in found:
            found.append(one)
            left += [one.__cause__, getattr(one, "inner_exception", None)]
    return any(map(_from_compiler, found)) and not any(map(_from_machine, found))


def _from_compiler(error: BaseException) -> bool:
    """Of torch's, of Triton's, or of the C compiler that they call."""
    return isinstance(error, subprocess.CalledProcessError) or any(
        kind.__module__ == package or kind.__module__.startswith(f"{package}.")
        for kind in type(error).__mro__
        for package in COMPILER
    )


def _from_machine(error: BaseException) -> bool:
    killed = isinstance(error, subprocess.CalledProcessError) and error.returncode < 0
    return (
        killed
        or isinstance(error, OSError | MemoryError | torch.OutOfMemoryError | BatonError)
        or FULL in str(error)
    )
