"""A private copy of the project, in which DVC works without touching the user's files, index or DVC lock.

`dvc exp run --temp` would stash, reset and restore the working tree at the start of each experiment: an edit
saved meanwhile is lost, and a kill leaves the user's edits in a stash. The copy is a clone that shares git's
objects and DVC's cache with the project. It keeps the outputs of earlier stages from one experiment to the
next.
"""

import json
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from baton import storage
from baton.errors import OutputError, ParamsError
from baton.workspace import dvc_graph
from baton.workspace.commands import changed_files, done, refusal, run

IDLE_SECONDS = 20.0  # a stage that was killed with its `dvc` saves a checkpoint and ends
POLL_SECONDS = 0.2
PROJECT = (".dvc", ".dvcignore", "dvc.lock", "dvc.yaml", "params.yaml")
LOCAL = Path(".dvc/config.local")


def prepare(folder: Path, needed: Sequence[str]) -> Path:
    """Make `folder` a copy of the project as it is now, uncommitted edits included.

    Return the project's root in it. Files that git ignores are left as they are in the copy: outputs of
    stages. Of new files that git does not know yet, only those that the stages may read are copied. The
    working directory is the project's root.

    Args:
        folder: in the project's state, ignored by git and DVC.
        needed: paths that stages depend on.

    Raises:
        ParamsError: git has no commit here, or DVC-tracked data differs from its `.dvc` file.
        OutputError: processes of an earlier comparison do not end, or git or DVC fails.
    """
    commit = head()
    listed = run("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", "*.dvc")
    tracked = [name for name in listed.split("\0") if name and Path(name).is_file()]
    if tracked and (moved := json.loads(run("dvc", "status", "--json", "--", *tracked))):
        raise ParamsError(
            "data that DVC tracks differs from its .dvc file",
            got=", ".join(moved),
            expected="data that was added",
            hint="`dvc add` keeps the new data, `dvc checkout` restores the old",
        )
    _await_idle(folder)
    root = folder / run("git", "rev-parse", "--show-prefix").strip()
    _clone(folder, commit)
    _bring_edits(root, {*PROJECT, *(Path(path).parts[0] for path in needed)})
    _share_cache(root)
    if tracked:
        run("dvc", "checkout", "--quiet", "--", *tracked, folder=root)
    return root


def head() -> str:
    """Return the commit on which experiments are based.

    Raises:
        ParamsError: there is none.
    """
    if commit := run("git", "rev-parse", "--verify", "--quiet", "HEAD", check=False).strip():
        return commit
    raise ParamsError(
        "experiments need a git repository with a commit",
        got=refusal() or "none here",
        expected="a commit on which `dvc exp show` lists them",
        hint="`git init`, `git add .`, `git commit`",
    )


def _clone(folder: Path, commit: str) -> None:
    """Check out a commit in the clone, which is made if it is missing or broken."""
    words = ("checkout", "--quiet", "--force", "--detach", commit)
    if (folder / ".git").is_dir() and done("git", "-C", str(folder), *words):
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    top = run("git", "rev-parse", "--show-toplevel").strip()
    run("git", "clone", "--quiet", "--shared", "--no-checkout", top, str(folder))
    run("git", "-C", str(folder), *words)


def _bring_edits(root: Path, folders: set[str]) -> None:
    """Copy what differs from HEAD, or is new in one of these files and folders; remove what is gone."""
    edited = run("git", "diff", "--relative", "--name-only", "-z", "HEAD").split("\0")
    changed = {*edited, *changed_files("HEAD", *sorted(folders))}
    others = run("git", "ls-files", "--others", "--exclude-standard", "-z", folder=root).split("\0")
    for name in {*others, *changed} - {""}:
        source, target = Path(name), root / name
        if not os.path.lexists(source):
            target.unlink(missing_ok=True)
        elif name in changed and not _same(source, target):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)


def _same(source: Path, target: Path) -> bool:
    """Return whether a file was copied before and has not changed since."""
    if not os.path.lexists(target):
        return False
    ours, theirs = source.lstat(), target.lstat()
    return (ours.st_size, ours.st_mtime_ns, ours.st_mode) == (
        theirs.st_size,
        theirs.st_mtime_ns,
        theirs.st_mode,
    )


def _share_cache(root: Path) -> None:
    """Let DVC use the project's cache and local settings."""
    own = LOCAL.read_text(encoding="utf-8") if LOCAL.is_file() else ""
    place = dvc_graph.cache().resolve()
    has_section = "[cache]" in own
    with storage.atomic_file(root / LOCAL) as temporary:
        temporary.write_text(
            own if has_section else f'{own}\n[cache]\n    dir = "{place}"\n', encoding="utf-8"
        )
    if has_section:
        run("dvc", "cache", "dir", "--local", str(place), folder=root)


def _await_idle(folder: Path) -> None:
    """Wait for processes that still work in the copy."""
    deadline = time.monotonic() + IDLE_SECONDS
    while found := _working(folder):
        if time.monotonic() > deadline:
            shown = "; ".join(f"{process.pid}: {' '.join(process.cmdline())[:80]}" for process in found[:3])
            raise OutputError(
                f"{folder} is in use",
                got=f"processes {shown}",
                expected="none",
                hint="wait for them, or stop them",
            )
        time.sleep(POLL_SECONDS)


def _working(folder: Path) -> list[psutil.Process]:
    found, place = [], folder.resolve()
    for process in psutil.process_iter():
        try:
            if Path(process.cwd()).is_relative_to(place) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found
