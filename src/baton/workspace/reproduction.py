"""Run stages in a private copy of the project, and stop them in order."""

import contextlib
import functools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO

from baton import storage
from baton.errors import OutputError
from baton.processes import supervision

GRACE_SECONDS = 15.0  # for a stage to save a checkpoint when it is stopped
LOOK_SECONDS = 0.2  # between two looks at a stage that may be stopped
SHOWN = 3  # lines of a failed stage's error


def reproduce(
    stage: str,
    copy: Path,
    variables: Mapping[str, str],
    log: IO[str],
    enough: Callable[[], bool] | None = None,
) -> bool:
    """Reproduce a stage and all before it; return False if it was stopped because it was `enough`.

    It ends with this process, and is stopped if this function is left by an exception.

    Args:
        stage: its name.
        copy: the project's root in its private copy.
        variables: of the environment, besides this process's.
        log: an open file, which gets what the stages print.
        enough: asked every `LOOK_SECONDS`; a stage that is stopped has saved a checkpoint.

    Raises:
        OutputError: a stage failed.
    """
    with _started(stage, copy, variables, log) as process:
        code = _ended(process, enough)
    if code is None:
        return False
    if code:
        raise OutputError(f"stage {stage} failed", got=said(Path(log.name)), hint=f"see {log.name}")
    return True


@contextlib.contextmanager
def _started(
    stage: str, copy: Path, variables: Mapping[str, str], log: IO[str]
) -> "Iterator[subprocess.Popen[bytes]]":
    own = {
        "DVC_ROOT": str(storage.project()),
        "BATON_PYTHON": os.environ.get("BATON_PYTHON", sys.executable),
    }
    ends_with_us = functools.partial(supervision.die_with_parent, signal.SIGTERM, os.getpid())
    process = subprocess.Popen(
        [sys.executable, "-m", "dvc", "repro", stage],
        cwd=copy,
        env={**os.environ, **own, **variables},
        stdout=log,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C reaches it from here, in order
        preexec_fn=ends_with_us,  # noqa: PLW1509  this process has one thread
    )
    try:
        yield process
    except BaseException:
        _stop(process)
        raise


def _ended(process: "subprocess.Popen[bytes]", enough: Callable[[], bool] | None) -> int | None:
    """Wait; return the exit code, or None if the process was stopped."""
    if enough is None:
        return process.wait()
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(LOOK_SECONDS)
        if enough():
            _stop(process)
            return None


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """Interrupt DVC and its stage, which saves a checkpoint, and wait until both are gone.

    SIGTERM would end DVC at once, which leaves its command running and its own locks on the disk.
    """
    deadline = time.monotonic() + GRACE_SECONDS
    for number in (signal.SIGINT, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            while time.monotonic() < deadline:
                process.poll()
                os.killpg(process.pid, 0)
                time.sleep(0.05)
        except ProcessLookupError:
            break
    process.wait()


def said(log: Path) -> str:
    """Return the error that a log ends with."""
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines()]
    found = [place for place, line in enumerate(lines) if line.startswith("error:")]
    return " ".join(lines[found[-1] :][:SHOWN] if found else [line for line in lines if line][-SHOWN:])
