"""`baton machines COMMAND`: a job whose scheduler runs the same command on every machine, as Kubeflow does.

Machine 0 runs the command, such as `dvc repro`. Each of its stages that uses several processes starts
`runtime.launcher: .venv/bin/baton machines torchrun`, which tells the others to start torchrun too; they end
with the command, and with its exit code. Input: torchrun's own variables `PET_NODE_RANK`, `PET_NNODES`,
`PET_MASTER_ADDR` and `PET_MASTER_PORT`. The machines meet in a store of machine 0, one port above torchrun's.
See docs/processes.md.
"""

import datetime as dt
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from torch.distributed import TCPStore  # type: ignore[attr-defined]

from baton import console, resources
from baton.errors import ParamsError, TrainingError
from baton.processes import supervision
from baton.runtime import launcher_words, launching

RUN = "torch.distributed.run"
ALONE = "--no-python"  # `launching.command` puts it before the stage's own command
NOT_OURS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")  # of a scheduler: they count machines
POLL_SECONDS = 0.5
START = dt.timedelta(hours=1)  # until the scheduler has started all machines
LEAVE_SECONDS = 60.0


@dataclass(frozen=True)
class Machine:
    """This machine's place among those of the job."""

    rank: int
    count: int
    host: str  # of machine 0
    port: int  # of the store


def run(command: Sequence[str]) -> NoReturn:
    """Run a command, or follow that of machine 0; within a stage, start torchrun on all machines.

    Raises:
        ParamsError: a variable is missing, or the command starts something other than torchrun in a stage.
        TrainingError: machine 0 cannot be reached, or ended without a word.
        SystemExit: the command has ended, with its code.
    """
    machine = _machine(os.environ)
    if launching.launched():
        _announce(_joined(machine), command)
        os.execvp(command[0], list(command))  # noqa: S606  the words that `launching` made
    raise SystemExit(_lead(machine, command) if machine.rank == 0 else _follow(machine))


def _machine(environment: Mapping[str, str]) -> Machine:
    names = ("PET_NODE_RANK", "PET_NNODES", "PET_MASTER_ADDR", "PET_MASTER_PORT")
    values = [environment.get(name, "") for name in names]
    for name, value in zip(names, values, strict=True):
        if not value or (name != "PET_MASTER_ADDR" and not value.isdecimal()):
            hint = "set it from the scheduler's variables, as the files in examples/launchers do"
            expected = "a name or an address" if name == "PET_MASTER_ADDR" else "a number"
            raise ParamsError(
                f"the variable {name} is missing", got=value or "nothing", expected=expected, hint=hint
            )
    rank, count, host, port = values
    return Machine(int(rank), int(count), host, int(port) + 1)


def _joined(machine: Machine) -> TCPStore:
    try:
        return TCPStore(machine.host, machine.port, is_master=False, timeout=START)
    except RuntimeError as error:
        raise TrainingError(
            f"machine 0 cannot be reached at {machine.host}:{machine.port}",
            got=str(error).splitlines()[0],
            expected="`baton machines` running there",
            hint="let the scheduler run it everywhere, with the same PET_MASTER_ADDR and PET_MASTER_PORT",
        ) from error


def _say(store: TCPStore, said: Mapping[str, Any]) -> None:
    """Say what comes next to all machines; each reads it once."""
    store.set(str(store.add("said", 1) - 1), json.dumps(said))


def _announce(store: TCPStore, words: Sequence[str]) -> None:
    """Tell the other machines which stage starts, with torchrun's options and how its processes meet."""
    if RUN not in words or ALONE not in words:
        hint = "set runtime.launcher to `.venv/bin/baton machines torchrun`"
        raise ParamsError(
            "baton machines starts torchrun only", got=" ".join(words), expected="torchrun", hint=hint
        )
    options = list(words[words.index(RUN) + 1 : words.index(ALONE)])
    stage = next(word for word in words if word.startswith("stages."))
    variables = {name: os.environ[name] for name in (launching.MEET, supervision.OWNER)}
    _say(store, {"options": options, "stage": stage.removeprefix("stages."), "variables": variables})


def _lead(machine: Machine, command: Sequence[str]) -> int:
    """Run the command here; tell the others how it ended."""
    store = TCPStore(machine.host, machine.port, is_master=True, wait_for_workers=False, timeout=START)
    environment = _own() | {"MASTER_ADDR": machine.host}  # where `launching` hosts the store of processes
    with subprocess.Popen(list(command), env=environment) as started:
        try:
            code = started.wait()
        except SystemExit:  # the scheduler stops this job
            started.terminate()
            code = started.wait()
    code = code if code >= 0 else 128 - code
    _say(store, {"ended": code})
    until = time.monotonic() + LEAVE_SECONDS
    while store.add("left", 0) < machine.count - 1 and time.monotonic() < until:
        time.sleep(POLL_SECONDS)
    return code


def _follow(machine: Machine) -> int:
    """Start torchrun whenever a stage of machine 0 does, until its command ends; return that one's code."""
    store = _joined(machine)
    try:
        while True:
            # Counted in the store: a machine that was started again does not repeat what it took before.
            number = str(store.add(f"taken by {machine.rank}", 1) - 1)
            while not store.check([number]):
                time.sleep(POLL_SECONDS)
            said = json.loads(store.get(number))
            if "ended" in said:
                store.add("left", 1)
                return int(said["ended"])
            _start(said)
    except RuntimeError as error:
        hint = "see its output; started again, the job goes on from the last checkpoint"
        raise TrainingError("machine 0 is gone", got=str(error).splitlines()[0], hint=hint) from error


def _start(said: Mapping[str, Any]) -> None:
    """Run torchrun as machine 0 does; if it fails there too, machine 0 says how its command ended."""
    options, stage, variables = list(said["options"]), str(said["stage"]), said["variables"]
    # Whoever reaches the store can start nothing but a stage.
    launcher_words.check("torchrun", ["torchrun", *options])
    if not re.fullmatch("[a-z]+", stage) or {*variables} != {launching.MEET, supervision.OWNER}:
        raise ParamsError("machine 0 said something else than a stage", got=said, expected="a stage's name")
    console.say(f"machine 0 has started {stage}")
    words = [sys.executable, "-m", RUN, *options, ALONE, *resources.stage(stage)]
    with subprocess.Popen(words, env=_own() | variables) as started:
        try:
            code = started.wait()
        finally:
            started.terminate()
    if code:
        console.warn("machines", f"torchrun of {stage} ended with exit code {code}")


def _own() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in NOT_OURS}
