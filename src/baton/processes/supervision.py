"""Which processes belong and end together: the stages of one `dvc repro`, found by a common ancestor.

Each stage is a separate process. DVC passes it no information about its repro, but the `dvc` process is its
ancestor, and `identity` says which process that is. DVC leaves its
command running when it is killed itself, so a stage watches it (`watch`).
"""

import contextlib
import ctypes
import json
import os
import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from baton.processes import identity
from baton.processes.identity import Process

# On SIGTERM, training saves a checkpoint at the end of its step and closes its runs; after that it is killed.
GRACE_SECONDS = 10.0
POLL_SECONDS = 0.25
ANCESTORS = "BATON_ANCESTORS"  # of the stage when it started, nearest first: `stages/run` sets it
OWNER = "BATON_OWNER"  # of the stage that started a launcher: its processes may run anywhere
PATIENT_DVC = "baton.workspace.patient_dvc"  # the module by which a retraining job runs DVC
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Owner:
    """The facts by which a stage's pipeline run is found."""

    repro_id: str | None  # BATON_REPRO_ID, set if CI runs the stages of one repro in several jobs
    process: Process  # the `dvc` ancestor, or this stage itself if it was started by hand
    command: str  # `dvc repro --force`, or a substitute


BY_HAND = "by hand"


def this() -> Process:
    """Return this process."""
    return identity.described(psutil.Process())


def owner() -> Owner:
    """Return the repro that this stage belongs to.

    That is `BATON_REPRO_ID` if it is set, else the nearest `dvc` ancestor, else the stage itself.
    """
    repro_id = os.environ.get("BATON_REPRO_ID") or None
    if OWNER in os.environ:
        name, started, command = json.loads(os.environ[OWNER])
        return Owner(repro_id, Process(name, started), command)
    dvc, arguments = _dvc(_ancestors())
    if dvc:
        return Owner(repro_id, identity.described(dvc), " ".join(["dvc", *arguments]))
    return Owner(repro_id, this(), repro_id or BY_HAND)


def handed_on() -> dict[str, str]:
    """Return the environment variables that give a launcher's processes the same `owner` as this stage."""
    own = owner()
    return {OWNER: json.dumps([own.process.name, own.process.started, own.command])}


def watch(grace: float = GRACE_SECONDS) -> None:
    """End this process when the `dvc` that started it ends for any reason.

    Without a `dvc`, end it with its parent (unless under `nohup`). It gets SIGTERM, once; if it is still
    there `grace` seconds later, it exits with 143 at once.
    """
    ancestors = _ancestors()
    dvc, _ = _dvc(ancestors)
    if not dvc and signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        return
    recorded = {int(pid) for pid in os.environ.get(ANCESTORS, "").split()}
    watched = dvc or (ancestors[0] if ancestors else None)
    if not dvc and not recorded <= {ancestor.pid for ancestor in ancestors}:
        watched = None  # it ended while this stage started, and another process has become the parent
    elif not watched:
        return  # no parent: the first process of a container
    by_kernel = (
        watched is not None and watched.pid == os.getppid() and die_with_parent(signal.SIGTERM, watched.pid)
    )
    threading.Thread(target=_follow, args=(watched, by_kernel, grace), name="watch", daemon=True).start()


def die_with_parent(number: signal.Signals, parent: int) -> bool:
    """Ask the kernel to send this signal when the thread of `parent` that started this process ends.

    Return False if `parent` is already gone.
    """
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(number))
    return os.getppid() == parent


def _follow(watched: psutil.Process | None, by_kernel: bool, grace: float) -> None:
    while watched and _alive(watched):
        time.sleep(POLL_SECONDS)
    with contextlib.suppress(OSError):  # the reader may be gone too
        os.write(2, b"error: the process that started this stage is gone, so the stage ends\n")
    if not by_kernel:  # only once: a second signal would disturb the shutdown that the first one started
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
    time.sleep(grace)
    os._exit(128 + signal.SIGTERM)


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _ancestors() -> list[psutil.Process]:
    """Return the visible processes above this one, nearest first."""
    found = [psutil.Process()]
    with contextlib.suppress(psutil.Error):
        while parent := found[-1].parent():
            found.append(parent)
    return found[1:]


def _dvc(ancestors: list[psutil.Process]) -> tuple[psutil.Process | None, list[str]]:
    """Return the nearest ancestor that is a `dvc`, and its arguments."""
    for ancestor in ancestors:
        try:
            if arguments := _dvc_arguments(ancestor.cmdline()):
                return ancestor, arguments
        except psutil.Error:  # another user's process, or gone by now
            continue
    return None, []


def _dvc_arguments(words: list[str]) -> list[str]:
    """Return `[repro, …]` for `dvc repro …`, `python …/bin/dvc repro …` and `python -m dvc repro …`.

    Return nothing for `make -C dvc` or `sh -c "dvc repro"`.
    """
    names = [Path(word).name for word in words]
    if names[:1] == ["dvc"]:
        return words[1:]
    if not names or not names[0].startswith("python"):
        return []
    rest = 1
    while rest < len(words) and words[rest].startswith("-") and words[rest] != "-m":
        rest += 1
    if words[rest : rest + 1] == ["-m"] and words[rest + 1 : rest + 2] in (["dvc"], [PATIENT_DVC]):
        return words[rest + 2 :]
    return words[rest + 1 :] if names[rest : rest + 1] == ["dvc"] else []
