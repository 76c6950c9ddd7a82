"""Which processes belong together: the stages of one `dvc repro`, found by their common ancestor.

Each stage is a process of its own. DVC tells it nothing about the repro it belongs to, but the `dvc` process is its ancestor, and a
process id with its start time names a process of this machine once and for all.
"""

import os
import socket
from dataclasses import dataclass
from pathlib import Path

import psutil

# Start times are computed from the clock, which NTP may move between two stages; no process id comes round again this fast.
CLOCK_SECONDS = 5.0


@dataclass(frozen=True)
class Process:
    """A process of some machine: `name` is `host:pid`, `started` in seconds since 1970."""

    name: str
    started: float

    def same(self, other: "Process") -> bool:
        """Whether both name one process."""
        return self.name == other.name and abs(self.started - other.started) < CLOCK_SECONDS

    def ended(self) -> bool:
        """True only if it is certain: the process was of this machine and is gone."""
        host, _, pid = self.name.rpartition(":")
        if host != socket.gethostname():
            return False
        try:
            process = psutil.Process(int(pid))
            return not self.same(_described(process)) or process.status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True
        except psutil.Error:
            return False


@dataclass(frozen=True)
class Owner:
    """What a stage's pipeline run is found by."""

    repro_id: str | None  # BATON_REPRO_ID, set where CI runs stages of one repro in several jobs
    process: Process  # the `dvc` above us, or this stage itself if it was started by hand
    command: str  # `dvc repro --force`, or what stands for it


BY_HAND = "by hand"


def this() -> Process:
    """This process."""
    return _described(psutil.Process())


def owner() -> Owner:
    """The repro that this stage belongs to: `BATON_REPRO_ID` if it is set, else the nearest `dvc` ancestor, else the stage itself."""
    repro_id = os.environ.get("BATON_REPRO_ID") or None
    for ancestor in psutil.Process().parents():
        try:
            if arguments := _dvc_arguments(ancestor.cmdline()):
                return Owner(repro_id, _described(ancestor), " ".join(["dvc", *arguments]))
        except psutil.Error:  # another user's process, or gone meanwhile
            continue
    return Owner(repro_id, this(), repro_id or BY_HAND)


def _described(process: psutil.Process) -> Process:
    return Process(f"{socket.gethostname()}:{process.pid}", process.create_time())


def _dvc_arguments(words: list[str]) -> list[str]:
    """`[repro, …]` of `dvc repro …`, `python …/bin/dvc repro …`, `python -m dvc repro …`; nothing of `make -C dvc`, `sh -c "dvc repro"`."""
    names = [Path(word).name for word in words]
    if names[:1] == ["dvc"]:
        return words[1:]
    if not names or not names[0].startswith("python"):
        return []
    rest = 1
    while rest < len(words) and words[rest].startswith("-") and words[rest] != "-m":
        rest += 1
    if words[rest : rest + 2] == ["-m", "dvc"]:
        return words[rest + 2 :]
    return words[rest + 1 :] if names[rest : rest + 1] == ["dvc"] else []
