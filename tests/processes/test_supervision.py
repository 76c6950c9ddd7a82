"""A stage ends with the `dvc` that started it, for any reason: real processes, really killed."""

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.alone
ROOT = Path(__file__).parents[2]

STAGE = """
import os, signal, sys, time
from pathlib import Path
from baton import console
from baton.processes import supervision

def main():
    if "deaf" in sys.argv:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        print("READY", os.getpid(), flush=True)
        time.sleep(60)
    finally:
        Path("saved").write_text("in time")

if "deaf" in sys.argv:
    supervision.GRACE_SECONDS = 0.5
    supervision.watch.__defaults__ = (0.5,)
{run}(main)
"""

# A process named `dvc` that acts like DVC: it starts the stage in a shell and leaves it running when killed.
DVC = "import subprocess, sys; subprocess.run(['sh', '-c', sys.argv[2]])\n"


@contextlib.contextmanager
def running(
    folder: Path, command: str, program: str = "dvc", run: str = "console.run_stage", **more: str
) -> Iterator[tuple[int, int]]:
    """Run a stage below a process named `program`; yield the ids of both.

    `STAGE` in `command` is the stage's own command.
    """
    (folder / "stage.py").write_text(STAGE.format(run=run))
    (folder / program).write_text(DVC)
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONUNBUFFERED": "1"} | more
    words = [
        sys.executable,
        str(folder / program),
        "repro",
        command.replace("STAGE", f"{sys.executable} stage.py"),
    ]
    with subprocess.Popen(
        words, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as starter:
        assert starter.stdout
        lines = list(itertools.islice(starter.stdout, 1))
        assert lines and lines[0].startswith("READY"), lines
        stage = int(lines[0].split()[1])
        try:
            yield starter.pid, stage
        finally:
            for pid in (starter.pid, stage):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


@pytest.fixture(autouse=True)
def hangups() -> Iterator[None]:
    """Undo `nohup make test`: what a stage does without its terminal depends on it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def gone(pid: int, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:  # checking first whether it exists would be a race
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("command", ["exec STAGE", "STAGE; true"], ids=["directly", "below a shell"])
def test_a_stage_ends_in_order_when_its_dvc_is_killed(
    tmp_path: Path, command: str, number: signal.Signals
) -> None:
    with running(tmp_path, command) as (dvc, stage):
        assert (psutil.Process(stage).ppid() == dvc) == (command == "exec STAGE")
        os.kill(dvc, number)
        assert gone(stage, 5)
    assert (tmp_path / "saved").read_text() == "in time"


def test_the_command_line_does_not_end_with_what_started_it(tmp_path: Path) -> None:
    """Negative control of the test above too: without `watch` the process survives."""
    with running(tmp_path, "STAGE; true", run="console.run") as (dvc, stage):
        os.kill(dvc, signal.SIGKILL)
        assert not gone(stage, 1.5)
    assert not (tmp_path / "saved").exists()


def test_a_stage_that_does_not_end_is_ended(tmp_path: Path) -> None:
    with running(tmp_path, "STAGE deaf; true") as (dvc, stage):
        os.kill(dvc, signal.SIGKILL)
        assert gone(stage, 5)
    assert not (tmp_path / "saved").exists()


def test_without_dvc_it_is_the_parent(tmp_path: Path) -> None:
    with running(tmp_path, "exec STAGE", program="scheduler") as (parent, stage):
        os.kill(parent, signal.SIGKILL)
        assert gone(stage, 5)
    assert (tmp_path / "saved").exists()


@pytest.mark.parametrize(("program", "stays"), [("scheduler", True), ("dvc", False)])
def test_nohup_is_honoured_but_not_for_a_dvc(tmp_path: Path, program: str, stays: bool) -> None:
    with running(tmp_path, "trap '' HUP; exec STAGE", program=program) as (parent, stage):
        os.kill(parent, signal.SIGKILL)
        assert gone(stage, 1.5) is not stays


def test_a_dvc_that_died_while_the_stage_started_is_noticed(tmp_path: Path) -> None:
    """The launcher records the ancestors; here one of them is gone."""
    former = subprocess.Popen(["true"])
    former.wait()
    (tmp_path / "stage.py").write_text(STAGE.format(run="console.run_stage"))
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "src"),
        "BATON_ANCESTORS": f"{os.getpid()} {former.pid}",
    }
    command = [sys.executable, "stage.py"]
    ended = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=10, check=False
    )
    assert ended.returncode in {-signal.SIGTERM, 128 + signal.SIGTERM} and "the stage ends" in ended.stderr
    with running(tmp_path, "exec STAGE", program="scheduler", BATON_ANCESTORS=f"{os.getpid()}") as pids:
        assert not gone(pids[1], 1)  # negative control


def test_the_launcher_tells_the_stage_who_is_above_it(tmp_path: Path) -> None:
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages/shown.py").write_text("import os; print(os.environ['BATON_ANCESTORS'])")
    command = ["sh", str(ROOT / "stages/run"), "shown"]
    environment = {**os.environ, "BATON_PYTHON": sys.executable, "DVC_ROOT": str(tmp_path)}
    shown = subprocess.run(
        command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True
    ).stdout
    assert [int(pid) for pid in shown.split()] == [
        os.getpid(),
        *(process.pid for process in psutil.Process().parents()),
    ]
