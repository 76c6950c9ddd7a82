"""The DVC remote: whether it answers, so that what it lacks can be told from what cannot be reached.

DVC itself takes a file of a silent remote for one that is not there, and runs its stage again.
"""

import subprocess
import uuid
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from baton import extras
from baton.errors import OutputError, ParamsError
from baton.processes import patience
from baton.workspace import commands, held_objects, refusals

ANSWER_SECONDS = 60  # in which a remote answers; on its own a library may try a hundred times
ENOUGH = 2  # failures between which the remote answered
WRITTEN = "baton/writable"  # what a job writes to see whether it may
MISSING = "missing-files"  # what DVC says of outputs that it found neither here nor on the remote


class Remote:
    """The project's default remote, opened as DVC opens it."""

    @cached_property
    def _opened(self) -> Any:
        from dvc.repo import Repo

        try:
            return Repo().cloud.get_remote()
        except ImportError as error:  # DVC's, which names the package
            raise ParamsError(
                "the DVC remote needs a package that is not installed",
                got=refusals.reason(error),
                hint=f"for s3:// run `{extras.install('s3')}`; docs/retraining.md names those for others",
            ) from None

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
        """Return why it cannot be asked for its files now; None if it answers.

        Raises:
            OutputError: it refuses, which no further try changes.
            ParamsError: a package for it is not installed.
        """
        if self.is_folder:
            return None if Path(self.path).is_dir() else f"the DVC remote's folder {self.path} does not exist"
        at = self._at(uuid.uuid4().hex)
        # A part of a file: so it is asked for at once, and the reason for a refusal comes with the answer.
        trouble = self._asked(lambda: self.fs.fs.cat_file(at, 0, 1, **self._limit))
        if trouble is None and self.lists_files:  # in the way DVC asks, which may be refused alone
            trouble = self._asked(lambda: self.fs.fs.exists(at, **self._limit))
        return trouble

    def check_writing(self) -> None:
        """Write a small file, on remotes that can list their files.

        Raises:
            OutputError: it refuses. A remote that is away is not found out here.
        """
        if self.is_folder or not self.lists_files:
            return
        to = self._at(WRITTEN)

        def write() -> None:
            self.fs.makedirs(self.fs.parent(to))
            self.fs.fs.pipe_file(to, b"written before a retraining\n", **self._limit)

        self._asked(write)

    def _at(self, name: str) -> str:
        return f"{self.path.rstrip('/')}/{name}"

    @property
    def _limit(self) -> dict[str, float]:
        return {"timeout": ANSWER_SECONDS} if self.fs.fs.async_impl else {}

    def _asked(self, ask: Callable[[], object]) -> str | None:
        try:
            ask()
        except Exception as error:  # noqa: BLE001  every kind of remote has its own
            refusals.check(error)
            if isinstance(error, FileNotFoundError):
                return None  # the answer: there is no such file
            return f"the DVC remote does not answer ({refusals.reason(error)})"
        return None


def _nothing() -> None:
    return None


def fetched(attempt: Callable[[], bool], held: Callable[[], str | None] = _nothing) -> bool:
    """Call `attempt` until it returns True; return False if the remote lacks what it fetches.

    That is certain when the remote answers after a failure, it fails once more, and the remote says that it
    has nothing of it: `held` returns what it has.

    Raises:
        OutputError: the remote cannot be reached, or refuses.
    """
    remote, missing = Remote(), False

    def once() -> str | None:
        nonlocal missing
        for _ in range(ENOUGH):
            if attempt():
                return None
            if trouble := remote.trouble():
                return trouble
        try:
            trouble = held()
        except Exception as error:  # noqa: BLE001  every kind of remote has its own
            refusals.check(error)
            trouble = f"the DVC remote does not say what it has ({refusals.reason(error)})"
        missing = trouble is None
        return trouble

    reachable(patience.persist(once))
    return not missing


def pull(*targets: str) -> bool:
    """Fetch outputs; return False if the remote answers and lacks some.

    Raises:
        OutputError: the remote cannot be reached, or DVC fails for another reason.
    """
    last: list[subprocess.CompletedProcess[str]] = []

    def attempt() -> bool:
        last[:] = [commands.attempt("dvc", "pull", "--", *targets)]
        return last[0].returncode == 0

    if fetched(attempt, lambda: _held(targets)):
        return True
    if MISSING not in last[0].stderr:  # DVC says it of a remote that is away, too
        raise OutputError("`dvc pull` failed", got=said(last[0]))
    return False


def _held(targets: Sequence[str]) -> str | None:
    """Return what the remote has of these targets although it could not be fetched."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    repo = Repo()
    try:
        wanted = held_objects.of_outputs(repo, targets)
    except DvcException:
        return None  # no such target, as `dvc pull` says
    return held_objects.trouble(repo, wanted)


def push(*options: str) -> None:
    """Push outputs and the run-cache.

    Raises:
        OutputError: the remote refuses, or does not take them.
    """

    def once() -> str | None:
        if trouble := remote.trouble():  # first: DVC would make a folder in place of one that is not mounted
            return trouble
        ended = commands.attempt("dvc", "push", "--run-cache", *options)
        if ended.returncode == 0:
            return None
        refusals.check_text(ended.stderr, said(ended))
        return f"`dvc push` failed: {said(ended)}"

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


def said(ended: subprocess.CompletedProcess[str]) -> str:
    """Return the last lines of a command's errors."""
    lines = (ended.stderr or ended.stdout).strip().splitlines()
    return " ".join(lines[-3:])[: refusals.WORDS] or f"exit code {ended.returncode}"
