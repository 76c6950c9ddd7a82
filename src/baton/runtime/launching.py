"""`runtime.launcher`: the stage starts torchrun or srun itself, waits, and ends as it ends, so that DVC sees one blocking command.

Input: the launcher's words. It starts this process's command in each of its places; they meet in a store that this process keeps, and find
out who they are by what torchrun (`RANK`, …) or srun (`SLURM_PROCID`, …) tells them. See docs/processes.md.
"""

import contextlib
import datetime as dt
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from typing import NoReturn

from torch.distributed import PrefixStore, Store, TCPStore  # type: ignore[attr-defined]

from baton import console
from baton.errors import ParamsError, TrainingError
from baton.processes import supervision, workers
from baton.runtime.resolve import Place

MEET = "BATON_MEET"  # HOST:PORT of the store, for the processes that a launcher of ours starts
TORCHRUN = "torchrun"
STOP_SECONDS = 40.0  # torchrun gives its processes 30 to end
LOCALHOST = "127.0.0.1"


def run(launcher: str) -> NoReturn:
    """Start the launcher and end as it does; SIGTERM and Ctrl-C reach its processes.

    Raises:
        ParamsError: there is no such program, or a variable in it is not set.
        TrainingError: it failed.
        SystemExit: it is done, or was asked to stop.
    """
    words = command(launcher, workers.command())
    here = os.environ.get("MASTER_ADDR") or (
        LOCALHOST if words[0] == sys.executable else socket.gethostname()
    )
    store = kept(here)
    environment = {
        name: value for name, value in os.environ.items() if name != supervision.ANCESTORS
    }  # of this machine
    environment |= {MEET: f"{here}:{store.port}", **supervision.handed_on()}
    # In a session of its own: Ctrl-C reaches it through us, once.
    with subprocess.Popen(
        words, env=environment, stdin=subprocess.DEVNULL, start_new_session=True
    ) as started:
        try:
            code = started.wait()
        finally:
            _end(started)
    ends = ending(code)
    if ends is None:
        got = f"exit code {code}" if code > 0 else f"signal {signal.Signals(-code).name}"
        hint = "see the errors of its processes above"
        raise TrainingError(
            f"runtime.launcher: {launcher} failed", got=got, expected="exit code 0", hint=hint
        )
    if ends:
        console.say(
            "its processes were asked to stop, or one failed, whose error is above; `dvc repro` goes on from here"
        )
    raise SystemExit(ends)


def ending(code: int) -> int | None:
    """The stage's exit code for that of its launcher; None: it failed.

    Whoever starts processes may also ask them to stop (SLURM's `--signal=TERM@60` goes to the tasks, not to us): that is no failure. It
    cannot be told from one of which the others were stopped: srun with `--kill-on-bad-exit=1` gives the highest of its tasks' codes.
    """
    asked = {128 + number for number in (signal.SIGTERM, signal.SIGINT)}
    told = code if code >= 0 else 128 - code
    return told if told in {0, *asked} else None


def kept(host: str) -> TCPStore:
    """A store that this process keeps, on a free port; that of this machine alone is out of other machines' reach."""
    if host != LOCALHOST:
        return TCPStore(host, 0, is_master=True, wait_for_workers=False)  # it listens on all interfaces
    listener = socket.create_server((LOCALHOST, 0))
    port = listener.getsockname()[1]
    return TCPStore(
        LOCALHOST, port, is_master=True, master_listen_fd=listener.detach(), wait_for_workers=False
    )


def command(launcher: str, own: list[str]) -> list[str]:
    """The launcher's words and, after them, the `own` command; torchrun is that of this Python, whatever PATH says.

    Raises:
        ParamsError: the words cannot be read, a `$VARIABLE` is not set, or there is no such program.
    """
    try:
        words = [os.path.expandvars(word) for word in shlex.split(launcher)]
    except ValueError as error:
        raise ParamsError(
            "runtime.launcher cannot be read", got=f"{launcher} ({error})", hint="close its quotes"
        ) from None
    if unset := [name for word in words for name in re.findall(r"\$\{?(\w+)", word)]:
        hint = "set it before `dvc repro`, or write the value"
        raise ParamsError(f"runtime.launcher: the variable {unset[0]} is not set", got=launcher, hint=hint)
    if not words or (words[0] != TORCHRUN and not shutil.which(words[0])):
        hint = "install it, name it by its path, or set runtime.launcher to null and runtime.processes to their number"
        raise ParamsError(
            "runtime.launcher: there is no such program",
            got=launcher,
            expected="torchrun … or srun …",
            hint=hint,
        )
    if TORCHRUN not in words:
        return [*words, *own]
    place = words.index(TORCHRUN)
    words[place : place + 1] = [sys.executable, "-m", "torch.distributed.run"]
    return [*words, *([] if {"--no-python", "--no_python"} & {*words} else ["--no-python"]), *own]


def launched() -> bool:
    """Whether a launcher of ours started this process."""
    return MEET in os.environ


def store(timeout: dt.timedelta) -> Store:
    """Where the processes of our launcher meet; each attempt of a torchrun that tries again has its own part of it.

    Raises:
        TrainingError: nobody answers there.
    """
    host, _, port = os.environ[MEET].rpartition(":")
    try:
        found = TCPStore(host, int(port), is_master=False, timeout=timeout)
    except RuntimeError as error:
        hint = "set MASTER_ADDR to this machine's name or address as the other machines know it"
        got = str(error).splitlines()[0]
        raise TrainingError(
            f"the stage that started this process cannot be reached at {host}", got=got, hint=hint
        ) from error
    return PrefixStore(f"attempt {os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", found)


def place(environment: Mapping[str, str], processors: int) -> Place | None:
    """This process's place as a launcher tells it; None: none did. `processors`: that it may use.

    Raises:
        ParamsError: our launcher is one that says nothing that is understood.
    """
    if {"RANK", "WORLD_SIZE"} <= environment.keys():
        size = int(environment["WORLD_SIZE"])
        local, local_size = (
            int(environment.get("LOCAL_RANK", "0")),
            int(environment.get("LOCAL_WORLD_SIZE", size)),
        )
        return Place(
            int(environment["RANK"]),
            local,
            size,
            local_size,
            "set by the launcher (WORLD_SIZE)",
            launched=True,
        )
    if MEET not in environment:  # a batch script of SLURM has its variables too, but is no task
        return None
    if not {"SLURM_PROCID", "SLURM_NTASKS"} <= environment.keys():
        got, expected = (
            "neither RANK and WORLD_SIZE nor SLURM_PROCID and SLURM_NTASKS",
            "torchrun … or srun …",
        )
        hint = "with another launcher, let it start torchrun"
        raise ParamsError(
            "runtime.launcher does not tell its processes who they are", got=got, expected=expected, hint=hint
        )
    size, local_size = int(environment["SLURM_NTASKS"]), _slurm_tasks_here(environment)
    bound = processors <= int(environment.get("SLURM_CPUS_PER_TASK", "0"))
    rank, local = int(environment["SLURM_PROCID"]), int(environment.get("SLURM_LOCALID", "0"))
    return Place(rank, local, size, local_size, "set by srun (SLURM_NTASKS)", launched=True, bound=bound)


def _slurm_tasks_here(environment: Mapping[str, str]) -> int:
    """Tasks on this machine, of a list such as `2(x3),1`: three machines with two tasks each, one with one."""
    text = (
        environment.get("SLURM_STEP_TASKS_PER_NODE")
        or environment.get("SLURM_TASKS_PER_NODE")
        or environment["SLURM_NTASKS"]
    )
    counts: list[int] = []
    for count, times in re.findall(r"(\d+)(?:\(x(\d+)\))?", text):
        counts += [int(count)] * int(times or 1)
    return counts[int(environment.get("SLURM_NODEID", "0")) % len(counts)]


def _end(started: "subprocess.Popen[bytes]") -> None:
    """Ask a launcher that is still there to stop, with its processes; one that does not is ended."""
    if started.poll() is None:
        started.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            started.wait(STOP_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(started.pid, signal.SIGKILL)
