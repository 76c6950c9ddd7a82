"""How many processors this process may use. Served models carry this module."""

import contextlib
import math
import os
from pathlib import Path


def available(groups: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> int:
    """Return how many there are by its affinity and by the quotas of its control groups, as of a container.

    Args:
        groups: mount point of control groups (version 2).
        own: file that names this process's group.
    """
    count = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):  # where served models run, it may be missing: on macOS and Windows
        count = len(os.sched_getaffinity(0))
    with contextlib.suppress(OSError, StopIteration):
        lines = own.read_text(encoding="ascii").splitlines()
        name = next(line[3:] for line in lines if line.startswith("0::")).lstrip("/")
        for group in ((groups / name), *(groups / name).parents):
            if not group.is_relative_to(groups):
                break
            with contextlib.suppress(OSError, ValueError):  # the root has no quota, and "max" means none
                quota, period = (group / "cpu.max").read_text(encoding="ascii").split()
                count = min(count, max(math.ceil(int(quota) / int(period)), 1))
    return count
