"""Run Git and DVC."""

import functools
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from baton.errors import OutputError
from baton.processes import supervision

AUTHOR = ("-c", "user.name=baton retrain", "-c", "user.email=baton-retrain@localhost")


def dvc(*words: str, own: Mapping[str, str] | None = None) -> None:
    """Run DVC, patient with its remote (`patient_dvc`), and let it print to the console.

    `own` are environment variables for it and its stages.
    """
    # If this process dies, DVC ends, and its stage with it.
    ends_with_us = functools.partial(supervision.die_with_parent, signal.SIGTERM, os.getpid())
    command = [sys.executable, "-m", supervision.PATIENT_DVC, *words]
    ended = subprocess.run(command, env={**os.environ, **(own or {})}, check=False, preexec_fn=ends_with_us)
    if ended.returncode:
        raise OutputError(
            f"`dvc {' '.join(words)}` failed",
            got=f"exit code {ended.returncode}",
            hint="see DVC's message above",
        )


def run(*words: str, check: bool = True, folder: Path | None = None) -> str:
    """Return a command's output; `dvc` is the one installed in this environment.

    It runs in `folder`, by default the working directory.
    """
    ended = _completed(*words, folder=folder)
    if check and ended.returncode:
        got = (ended.stderr or ended.stdout).strip().splitlines()
        raise OutputError(
            f"`{' '.join(words[:3])} …` failed", got=got[-1] if got else f"exit code {ended.returncode}"
        )
    return ended.stdout if ended.returncode == 0 else ""


def refusal() -> str:
    """Return why git does not read this checkout, and what to do; empty if it does, or if there is none.

    Git reads no checkout of another user ("dubious ownership"), as in a container that mounts one.
    """
    try:
        ended = subprocess.run(
            ["git", "rev-parse", "--git-dir"],
            env={**os.environ, "LC_ALL": "C"},
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        return ""
    if not ended.returncode or "dubious ownership" not in ended.stderr:
        return ""
    return (
        "git does not read this checkout, since its folder belongs to another user: "
        f"`git config --global --add safe.directory {shlex.quote(str(Path.cwd()))}` allows it, "
        "`chown` makes it yours"
    )


def is_commit(text: str) -> bool:
    """Return whether a text is a commit's whole name, and so cannot be an option of Git.

    Commits come from runs and versions of a server, whose tags anybody with access to it can write: an option
    in their place, such as `--output=FILE`, would make Git write files.
    """
    return re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", text) is not None  # the longer ones are SHA-256


def changed_files(commit: str, *paths: str) -> list[str]:
    """Return the files at or below `paths` that differ from a commit or HEAD, or are new.

    Those that differ are left out if `commit` is not a commit's whole name, or Git cannot compare them.
    """
    options = ("--relative", "--name-only", "-z", "--end-of-options")
    known = commit == "HEAD" or is_commit(commit)
    differing = run("git", "diff", *options, commit, "--", *paths, check=False) if known else ""
    new = run("git", "ls-files", "--others", "--exclude-standard", "-z", "--", *paths, check=False)
    return sorted({*differing.split("\0"), *new.split("\0")} - {""})


def done(*words: str) -> bool:
    """Run a command and return whether it succeeded."""
    return _completed(*words).returncode == 0


def attempt(*words: str) -> subprocess.CompletedProcess[str]:
    """Run a command that may fail; return its end, with output and errors as text, in English."""
    return _completed(*words)


def _completed(*words: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *words] if words[0] == "dvc" else list(words)
    # Git asks for nothing: nobody is there to answer, and a question would wait for ever.
    quiet = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C.UTF-8"}
    try:
        return subprocess.run(command, cwd=folder, env=quiet, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return subprocess.CompletedProcess(command, 127, "", f"{command[0]} is not installed")
