"""The DVC remote: whether it answers, so that what it lacks can be told from what cannot be reached.

DVC itself takes a file of a silent remote for one that is not there, and runs its stage again.
"""

import subprocess
import uuid
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

from baton.errors import OutputError
from baton.processes import ending, patience
from baton.workspace import commands

WORDS = 300  # characters of an answer in an error
ENOUGH = 2  # failures between which the remote answered
MISSING = "missing-files"  # what DVC says of outputs that it found neither here nor on the remote


class Remote:
    """The project's default remote, opened as DVC opens it."""

    @cached_property
    def _opened(self) -> Any:
        from dvc.repo import Repo

        return Repo().cloud.get_remote()

    @property
    def fs(self) -> Any:
        """Return the file system, `dvc_objects.fs.base.FileSystem`."""
        return self._opened.fs

    @property
    def path(self) -> str:
        """Return where it is in its file system."""
        return str(self._opened.path)

    @property
    def lists_files(self) -> bool:
        """Return whether it can list its files; a web server cannot."""
        return bool(self.fs.CAN_TRAVERSE)

    @property
    def is_folder(self) -> bool:
        """Return whether it is a folder of this machine, mounted or not."""
        return str(self.fs.protocol) == "local"

    def trouble(self) -> str | None:
        """Return why it cannot be asked for its files now; None if it answers."""
        if self.is_folder:
            return None if Path(self.path).is_dir() else f"the DVC remote's folder {self.path} does not exist"
        try:
            self.fs.fs.cat_file(f"{self.path.rstrip('/')}/{uuid.uuid4().hex}")
        except FileNotFoundError:
            return None  # the answer: there is no such file
        except Exception as error:  # noqa: BLE001  every kind of remote has its own
            return f"the DVC remote does not answer ({reason(error)})"
        return None


def fetched(attempt: Callable[[], bool]) -> bool:
    """Call `attempt` until it returns True; return False if the remote lacks what it fetches.

    That is certain when the remote answers after a failure, and it fails once more.

    Raises:
        OutputError: the remote cannot be reached.
    """
    remote, missing = Remote(), False

    def once() -> str | None:
        nonlocal missing
        for _ in range(ENOUGH):
            if attempt():
                return None
            if trouble := remote.trouble():
                return trouble
        missing = True
        return None

    reachable(patience.persist(once))
    return not missing


def pull(*targets: str) -> bool:
    """Fetch outputs; return False if the remote answers and lacks some.

    Raises:
        OutputError: the remote cannot be reached, or DVC fails for another reason.
    """

    def attempt() -> bool:
        ended = commands.attempt("dvc", "pull", "--", *targets)
        if ended.returncode and MISSING not in ended.stderr:
            raise OutputError("`dvc pull` failed", got=said(ended))
        return ended.returncode == 0

    return fetched(attempt)


def push(*options: str) -> None:
    """Push outputs and the run-cache.

    Raises:
        OutputError: the remote does not take them.
    """

    def once() -> str | None:
        if trouble := remote.trouble():  # first: DVC would make a folder in place of one that is not mounted
            return trouble
        ended = commands.attempt("dvc", "push", "--run-cache", *options)
        return None if ended.returncode == 0 else f"`dvc push` failed: {said(ended)}"

    remote = Remote()
    reachable(patience.persist(once))


def reachable(trouble: str | None) -> None:
    """Raise an error if there is trouble with the remote.

    Raises:
        OutputError: there is.
    """
    if trouble:
        raise OutputError(
            "the DVC remote cannot be used",
            got=trouble,
            expected="a remote that answers",
            hint="run again when it does: what is trained and pushed is not trained again",
        )


def reason(error: Exception) -> str:
    """Return a remote's error in one line."""
    return " ".join(ending.described(error).split())[:WORDS]


def said(ended: subprocess.CompletedProcess[str]) -> str:
    """Return the last lines of a command's errors."""
    lines = (ended.stderr or ended.stdout).strip().splitlines()
    return " ".join(lines[-3:])[:WORDS] or f"exit code {ended.returncode}"
