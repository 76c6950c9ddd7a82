"""`baton doctor`: look at what a run needs, and say what to do about what is wrong. Nothing is changed."""

import importlib.metadata
import os
import platform
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

import psutil
from rich.table import Table
from rich.text import Text

from baton import console, params, processors, storage
from baton.cli import project_code
from baton.errors import BatonError, first_line, redacted, visible

LOCK = Path("requirements.lock")
INSTALL = "`make install`, or `pip install --require-hashes -r requirements.lock` in a project of `baton new`"
DISK, ROOM = 5e9, 2e9  # bytes free below which there is a note: for a run with its models, and in memory
TRAINS = 1e9  # bytes of memory below which no encoder is trained
NAMED = 3  # packages


class State(StrEnum):
    """What a finding means."""

    OK = "ok"
    NOTE = "note"  # works, but worth knowing
    WRONG = "wrong"  # a run would fail, or not be what it says it is


STYLES = {State.OK: "green", State.NOTE: "yellow", State.WRONG: "bold red"}


class Finding(NamedTuple):
    """What one look found."""

    state: State
    said: str
    hint: str = ""  # what to do; empty: nothing


def examine() -> bool:
    """Print what is found; return whether nothing is wrong."""
    sound = True
    for subject, look in LOOKS.items():
        for finding in _found(look):
            _show(subject, finding)
            sound = sound and finding.state is not State.WRONG
    return sound


def _show(subject: str, finding: Finding) -> None:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(width=max(map(len, State)))
    grid.add_column(width=max(map(len, LOOKS)))
    grid.add_column(overflow="fold")
    grid.add_row(Text(finding.state, STYLES[finding.state]), subject, Text(visible(finding.said)))
    if finding.hint:
        grid.add_row("", "", Text(visible(finding.hint)))
    console.say(grid)


def _found(look: Callable[[], Iterator[Finding]]) -> list[Finding]:
    """Return the findings; an error is one."""
    try:
        return [*look()]
    except ImportError as error:
        return [Finding(State.WRONG, first_line(error), INSTALL)]
    except BatonError as error:
        said, _, hint = str(error).partition("\n  next:")
        return [Finding(State.WRONG, "; ".join(line.strip() for line in said.splitlines()), hint.strip())]


def _versions() -> Iterator[Finding]:
    python = platform.python_version()
    yield Finding(State.OK, f"{project_code.version()}, Python {python}, {platform.platform(terse=True)}")


def _packages() -> Iterator[Finding]:
    """Compare what is installed with requirements.lock."""
    if not LOCK.is_file():
        yield Finding(State.WRONG, f"{LOCK} is missing", f"`git checkout {LOCK}`")
        return
    wanted = dict(
        re.findall(r"^([A-Za-z0-9._-]+)==([^\s;]+)", LOCK.read_text(encoding="utf-8"), re.MULTILINE)
    )
    there = {
        _normal(own.metadata["Name"]): own.version
        for own in importlib.metadata.distributions()
        if own.metadata["Name"]
    }
    different = [
        f"{name} {there.get(_normal(name), 'missing')} (locked: {version})"
        for name, version in wanted.items()
        if there.get(_normal(name)) != version
    ]
    if not different:
        yield Finding(State.OK, f"{len(wanted)} packages as in {LOCK}, in {sys.prefix}")
        return
    more = f" and {len(different) - NAMED} more" if len(different) > NAMED else ""
    yield Finding(
        State.WRONG,
        f"not as in {LOCK}: {', '.join(different[:NAMED])}{more}",
        f"DVC takes the lock for what ran: {INSTALL}",
    )


def _normal(name: str) -> str:
    """Return a package's name as PEP 503 compares names."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _machine() -> Iterator[Finding]:
    from baton.runtime import memory

    free, whole = memory.available(), psutil.virtual_memory().total
    state = State.WRONG if free < TRAINS else State.NOTE if free < ROOM else State.OK
    yield Finding(
        state,
        f"{processors.available()} processors, {_gigabytes(free)} of {_gigabytes(whole)} memory free",
        "" if state is State.OK else "stop other programs, or lower batch_size",
    )
    disk = shutil.disk_usage(Path.cwd()).free
    yield Finding(
        State.OK if disk >= DISK else State.NOTE,
        f"{_gigabytes(disk)} of disk free",
        ""
        if disk >= DISK
        else "`dvc gc --workspace` removes cached outputs of other commits; `baton gc` "
        "what killed processes left",
    )


def _gpu() -> Iterator[Finding]:
    import torch

    if not torch.cuda.is_available():
        nvidia = Path("/proc/driver/nvidia").exists()
        hint = "the driver is there, but torch cannot use it: `nvidia-smi` says why" if nvidia else ""
        yield Finding(State.NOTE if nvidia else State.OK, "none: training runs on the CPU", hint)
        return
    for number in range(torch.cuda.device_count()):
        own = torch.cuda.get_device_properties(number)
        yield Finding(State.OK, f"{own.name}, {_gigabytes(own.total_memory)}, CUDA {torch.version.cuda}")


def _params() -> Iterator[Finding]:
    asked = params.read()
    yield Finding(State.OK, f"{params.PATH} is valid: {asked.description}")


def _git() -> Iterator[Finding]:
    from baton.workspace import commands

    if shutil.which("git") is None:
        yield Finding(State.WRONG, "not installed", "on Debian: apt install git")
        return
    if refused := commands.refusal():
        yield Finding(State.WRONG, "runs are recorded without a commit", refused)
        return
    commit = commands.run("git", "rev-parse", "--short", "HEAD", check=False).strip()
    if not commit:
        yield Finding(
            State.WRONG, "no commit", "`git init && git add . && git commit`: runs are traced to a commit"
        )
        return
    branch = commands.run("git", "branch", "--show-current").strip()
    changed = len(commands.run("git", "status", "--porcelain", "--untracked-files=no").splitlines())
    edits = f", {changed} files with changes" if changed else ""
    yield Finding(
        State.OK if branch else State.NOTE,
        f"{commit} on {branch}{edits}" if branch else f"{commit}, HEAD is detached{edits}",
        "" if branch else "`baton retrain` then needs --branch",
    )


def _mlflow() -> Iterator[Finding]:
    settings = params.read().tracking
    if os.environ.get("BATON_TRACKING") == "off" or not isinstance(settings, params.MlflowTracking):
        yield Finding(State.NOTE, "off: runs are not recorded")
        return
    from baton import tracking

    tracking.prepare()
    from baton.tracking import journal, pinned_server, store

    uri = store.tracking_uri(settings.uri)
    own = storage.project() / store.DATABASE
    shown = own.name if settings.uri is None else redacted(uri)
    pinned_server.check(uri)
    if settings.uri is None and not own.is_file():
        yield Finding(State.OK, f"{shown} will be made by the first run")
    else:
        store.ask(uri)
        yield Finding(State.OK, f"{shown} answers")
    if waiting := sum(one.waiting() > 0 for one in journal.left()):
        yield Finding(State.NOTE, f"{waiting} journals are not delivered yet", "`baton sync` delivers them")


def _remote() -> Iterator[Finding]:
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    from baton.workspace.remote import Remote

    try:
        name = Repo().config["core"].get("remote")
    except DvcException as error:
        yield Finding(State.WRONG, f"DVC cannot read the project: {first_line(error)}")
        return
    if not name:
        yield Finding(
            State.NOTE,
            "none: outputs are on this disk alone",
            "`dvc remote add --default NAME ADDRESS`; a folder will do",
        )
        return
    remote = Remote()
    trouble = remote.trouble()
    yield Finding(State.WRONG, trouble) if trouble else Finding(State.OK, f"{name} answers: {remote.path}")


def _cache() -> Iterator[Finding]:
    from baton.sources import fetch_cache

    place = fetch_cache.folder()
    size = sum(path.stat().st_size for path in place.rglob("*") if path.is_file()) if place.is_dir() else 0
    yield Finding(State.OK, f"{_gigabytes(size)} of downloads in {place}")


def _gigabytes(size: float) -> str:
    return f"{size / 1e9:,.1f} GB"


LOOKS: dict[str, Callable[[], Iterator[Finding]]] = {
    "Baton": _versions,
    "packages": _packages,
    "machine": _machine,
    "GPU": _gpu,
    "params": _params,
    "git": _git,
    "MLflow": _mlflow,
    "DVC remote": _remote,
    "downloads": _cache,
}
