"""Distinguish the compiler's own errors, which recur, from passing ones such as a full disk.

Input: an exception raised by a compiled pass. Output: whether `train/compiling.py` should remember it.
"""

import errno
import os
import subprocess

import torch

from baton.errors import BatonError

# Packages that raise the compiler's own errors.
COMPILER = {
    "torch._dynamo",
    "torch._functorch",
    "torch._inductor",
    "triton",
}
FULL = os.strerror(errno.ENOSPC)  # C compilers print it too


def is_compilers(error: BaseException) -> bool:
    """Return whether an error comes from the compiler itself and will recur.

    The alternative is the state of the machine at the time (memory, disk, processes). Causes, and errors
    wrapped by inductor, are examined too.
    """
    found: list[BaseException] = []
    left: list[BaseException | None] = [error]
    while left:
        if (one := left.pop()) is not None and one not in found:
            found.append(one)
            left += [one.__cause__, getattr(one, "inner_exception", None)]
    return any(map(_from_compiler, found)) and not any(map(_from_machine, found))


def _from_compiler(error: BaseException) -> bool:
    """Return whether torch's compiler, Triton, or the C compiler that they call raised the error."""
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
