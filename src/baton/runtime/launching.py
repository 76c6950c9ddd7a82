"""Start torchrun or srun from the stage (`runtime.launcher`), so that DVC sees a single blocking command.

The stage waits for the launcher and ends with its exit status. Input: the launcher's command line. The
launcher runs this process's command once per rank; the ranks meet in a store that this process hosts, and
learn their place from the variables of torchrun (`RANK`, …) or srun (`SLURM_PROCID`, …). See
docs/processes.md.
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
from baton.runtime import launcher_words
from baton.runtime.resolve import Place

MEET = "BATON_MEET"  # HOST:PORT of the store, for the processes started through `runtime.launcher`
TORCHRUN = "torchrun"
STOP_SECONDS = 40.0  # torchrun gives its processes 30 s to end
LOCALHOST = "127.0.0.1"


def run(launcher: str) -> NoReturn:
    """Start the launcher and exit with its status; SIGTERM and Ctrl-C reach its processes.

    Raises:
        ParamsError: the program was not found, or a variable in its command line is not set.
        TrainingError: the launcher failed.
        SystemExit: the launcher finished, or was asked to stop.
    """
    words = command(launcher, workers.command())
    here = os.environ.get("MASTER_ADDR") or (
        LOCALHOST if words[0] == sys.executable else socket.gethostname()
    )
    store = kept(here)
    # The ancestors are processes of this machine only.
    environment = {name: value for name, value in os.environ.items() if name != supervision.ANCESTORS}
    environment |= {MEET: f"{here}:{store.port}", **supervision.handed_on()}
    # In a separate session: Ctrl-C reaches the launcher through this process, once.
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
            "its processes were asked to stop, or one failed (see above); `dvc repro` resumes from here"
        )
    raise SystemExit(ends)


def ending(code: int) -> int | None:
    """Return the stage's exit code, given the launcher's; None if the launcher failed.

    The launcher may be told to stop its processes (SLURM's `--signal=TERM@60` goes to the tasks, not to the
    stage), which is not a failure. This looks the same as one failed task after which the others were
    stopped: srun with `--kill-on-bad-exit=1` returns the highest of its tasks' codes.
    """
    asked = {128 + number for number in (signal.SIGTERM, signal.SIGINT)}
    shell_code = code if code >= 0 else 128 - code
    return shell_code if shell_code in {0, *asked} else None


def kept(host: str) -> TCPStore:
    """Host a store on a free port; on the loopback address, other machines cannot reach it."""
    if host != LOCALHOST:
        return TCPStore(host, 0, is_master=True, wait_for_workers=False)  # listens on all interfaces
    listener = socket.create_server((LOCALHOST, 0))
    port = listener.getsockname()[1]
    return TCPStore(
        LOCALHOST, port, is_master=True, master_listen_fd=listener.detach(), wait_for_workers=False
    )


def command(launcher: str, own: list[str]) -> list[str]:
    """Return the launcher's words followed by the `own` command.

    `torchrun` always means that of the running Python, regardless of PATH.

    Raises:
        ParamsError: the words cannot be parsed, a `$VARIABLE` is not set, the program was not found, or a
            word could start another program (`launcher_words`).
    """
    try:
        words = [os.path.expandvars(word) for word in shlex.split(launcher)]
    except ValueError as error:
        raise ParamsError(
            "runtime.launcher cannot be parsed", got=f"{launcher} ({error})", hint="close its quotes"
        ) from None
    if unset := [name for word in words for name in re.findall(r"\$\{?(\w+)", word)]:
        hint = "set it before running `dvc repro`, or write its value"
        raise ParamsError(f"runtime.launcher: the variable {unset[0]} is not set", got=launcher, hint=hint)
    if not words or (words[0] != TORCHRUN and not shutil.which(words[0])):
        hint = "install it, or set runtime.launcher to null and runtime.processes to the number of processes"
        raise ParamsError(
            "runtime.launcher: program not found",
            got=launcher,
            expected="torchrun … or srun …",
            hint=hint,
        )
    launcher_words.check(launcher, words)
    if TORCHRUN not in words:
        return [*words, *own]
    place = words.index(TORCHRUN)
    words[place : place + 1] = [sys.executable, "-m", "torch.distributed.run"]
    return [*words, *([] if {"--no-python", "--no_python"} & {*words} else ["--no-python"]), *own]


def launched() -> bool:
    """Return whether this process was started through `runtime.launcher`."""
    return MEET in os.environ


def store(timeout: dt.timedelta) -> Store:
    """Connect to the store where the launcher's processes meet.

    Each attempt of a torchrun that restarts its processes gets its own part of the store.

    Raises:
        TrainingError: the store does not answer.
    """
    host, _, port = os.environ[MEET].rpartition(":")
    try:
        found = TCPStore(host, int(port), is_master=False, timeout=timeout)
    except RuntimeError as error:
        hint = "set MASTER_ADDR to the name or address by which the other machines reach the stage's machine"
        got = str(error).splitlines()[0]
        raise TrainingError(
            f"the stage that started this process cannot be reached at {host}", got=got, hint=hint
        ) from error
    return PrefixStore(f"attempt {os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", found)


def place(environment: Mapping[str, str], processors: int) -> Place | None:
    """Return this process's place according to its launcher; None if there is no launcher.

    `processors` is the number of processors that this process may use.

    Raises:
        ParamsError: `runtime.launcher` sets none of the known variables.
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
    if MEET not in environment:  # a SLURM batch script has these variables too, but is not a task
        return None
    if not {"SLURM_PROCID", "SLURM_NTASKS"} <= environment.keys():
        got, expected = (
            "neither RANK and WORLD_SIZE nor SLURM_PROCID and SLURM_NTASKS",
            "torchrun … or srun …",
        )
        hint = "with another launcher, let it start torchrun"
        raise ParamsError(
            "runtime.launcher does not give its processes their ranks", got=got, expected=expected, hint=hint
        )
    size, local_size = int(environment["SLURM_NTASKS"]), _slurm_tasks_here(environment)
    bound = processors <= int(environment.get("SLURM_CPUS_PER_TASK", "0"))
    rank, local = int(environment["SLURM_PROCID"]), int(environment.get("SLURM_LOCALID", "0"))
    return Place(rank, local, size, local_size, "set by srun (SLURM_NTASKS)", launched=True, bound=bound)


def _slurm_tasks_here(environment: Mapping[str, str]) -> int:
    """Return the number of tasks on this machine, from SLURM's list.

    For example, `2(x3),1` means three machines with two tasks each and one machine with one.
    """
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
    """Ask a running launcher and its processes to stop; kill them if they do not."""
    if started.poll() is None:
        started.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            started.wait(STOP_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(started.pid, signal.SIGKILL)
