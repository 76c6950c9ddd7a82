"""Which process is meant, on every machine that uses the same store, and whether it is certainly gone.

A host's name is not enough, since containers may share it; nor is a start time by the clock, which NTP or a
person may move. On Linux a process is named `HOST:PID@BOOT.NAMESPACE.MACHINE`: the kernel's boot id, the
namespace of process ids, and the machine's id; and it started so many seconds after the boot, by the kernel's
own count of ticks. Elsewhere, and in the records of earlier versions, it is `HOST:PID` and a start time in
seconds since 1970.
"""

import contextlib
import functools
import hashlib
import os
import socket
from dataclasses import dataclass
from pathlib import Path

import psutil

CLOCK_SECONDS = 5.0  # of a start time by the clock; process ids are not reused this fast
FIRST_NAMESPACE = "4026531836"  # of the machine itself, not of a container (PROC_PID_INIT_INO in Linux)
PROC = Path("/proc")
MACHINE = Path("/etc/machine-id")


@dataclass(frozen=True)
class Process:
    """A process on some machine, named as this module says."""

    name: str
    started: float  # seconds since the boot, or without a place since 1970

    def same(self, other: "Process") -> bool:
        """Return whether both are the same process."""
        most = 0.5 / _ticks() if "@" in self.name else CLOCK_SECONDS
        return self.name == other.name and abs(self.started - other.started) < most

    def ended(self) -> bool:
        """Return True only if it is certain that the process ran on this machine and is gone."""
        where, _, spot = self.name.partition("@")
        host, _, pid = where.rpartition(":")
        if host != socket.gethostname():
            return False
        if spot and spot != place():
            return _before_a_boot(spot)
        try:
            process = psutil.Process(int(pid))
            now = described(process) if spot else _by_clock(process)
            return not self.same(now) or process.status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True
        except psutil.Error:
            return False


def described(process: psutil.Process) -> Process:
    """Return a process of this machine.

    Raises:
        psutil.Error: it is gone, or cannot be seen.
    """
    if not place():
        return _by_clock(process)
    try:
        # The second field may hold anything, also brackets; the 22nd is when it started.
        ticks = int((PROC / str(process.pid) / "stat").read_bytes().rpartition(b")")[2].split()[19])
    except FileNotFoundError:
        raise psutil.NoSuchProcess(process.pid) from None
    except OSError:
        raise psutil.AccessDenied(process.pid) from None
    return Process(f"{socket.gethostname()}:{process.pid}@{place()}", ticks / _ticks())


@functools.cache
def place() -> str:
    """Return boot, namespace of process ids and machine of this process; empty where there are none."""
    with contextlib.suppress(OSError):
        boot = (PROC / "sys/kernel/random/boot_id").read_text().strip().replace("-", "")
        namespace = str((PROC / "self/ns/pid").readlink()).removeprefix("pid:[").removesuffix("]")
        machine = ""
        with contextlib.suppress(OSError):
            if known := MACHINE.read_bytes().strip():
                machine = hashlib.sha256(known).hexdigest()[
                    :16
                ]  # the id itself is confidential (machine-id(5))
        return f"{boot}.{namespace}.{machine}"
    return ""


def _before_a_boot(spot: str) -> bool:
    """Return whether a process of another place ran on this machine, and before it was started again.

    That is certain only outside containers, of which many may have the same machine id and host name.
    """
    boot, namespace, machine = spot.split(".")
    own_boot, own_namespace, own_machine = place().split(".") if place() else ("", "", "")
    outside = namespace == own_namespace == FIRST_NAMESPACE
    return outside and bool(machine) and machine == own_machine and boot != own_boot


def _by_clock(process: psutil.Process) -> Process:
    return Process(f"{socket.gethostname()}:{process.pid}", process.create_time())


@functools.cache
def _ticks() -> int:
    return os.sysconf("SC_CLK_TCK")
