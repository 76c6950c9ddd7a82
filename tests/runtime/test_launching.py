"""Test `runtime.launcher` with real torchrun, and with a script that starts processes as srun does.

Signals, errors and exit codes pass through.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from baton.errors import ParamsError
from baton.processes import heartbeat, identity, supervision, workers
from baton.processes.alarm import Alarm
from baton.runtime import launcher_words, launching
from baton.runtime.resolve import Place, device_index
from tests.runtime.test_distributed import JOB, ROOT, WANTED, finished, gone
from tests.runtime.test_distributed import ranks as told

pytestmark = pytest.mark.alone
TORCHRUN, SRUNS = "torchrun --standalone --nproc-per-node 2", "srun --ntasks=$TASKS"
# Starts its command twice, as `srun --ntasks 2` does on one machine, and passes signals on; like srun it does
# not set RANK.
SRUN = """#!{python}
import os, signal, subprocess, sys
tasks = []
for rank in (0, 1):
    own = {{"SLURM_PROCID": rank, "SLURM_LOCALID": rank, "SLURM_NTASKS": 2, "SLURM_NODEID": 0}}
    own["SLURM_STEP_TASKS_PER_NODE"] = "2"
    environment = os.environ | {{name: str(value) for name, value in own.items()}}
    tasks.append(subprocess.Popen(sys.argv[2:], env=environment, start_new_session=True))
signal.signal(signal.SIGTERM, lambda number, frame: [task.send_signal(number) for task in tasks])
raise SystemExit(max(abs(task.wait()) for task in tasks))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "job.py").write_text(JOB)
    (tmp_path / "srun").write_text(SRUN.format(python=sys.executable))
    (tmp_path / "srun").chmod(0o755)
    return tmp_path


def start(folder: Path, launcher: str, *words: str) -> subprocess.Popen[str]:
    """Start the job with `launcher`; its environment is that of a SLURM batch script, not of a task."""
    wanted = WANTED.model_copy(update={"processes": "auto", "launcher": launcher})
    (folder / "wanted.json").write_text(wanted.model_dump_json())
    batch = {
        "SLURM_PROCID": "0",
        "SLURM_NTASKS": "4",
        "SLURM_JOB_ID": "1",
        "PATH": f"{folder}:{os.environ['PATH']}",
        "TASKS": "2",
    }
    environment = {**os.environ, **batch, "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "job.py", *words]
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


LAUNCHERS = pytest.mark.parametrize("launcher", [TORCHRUN, SRUNS], ids=["torchrun", "srun"])


@pytest.mark.parametrize(
    "launcher", [pytest.param(TORCHRUN, marks=pytest.mark.slow), SRUNS], ids=["torchrun", "srun"]
)
def test_a_launcher_s_processes_are_a_group(folder: Path, launcher: str) -> None:
    with start(folder, launcher, "end") as job:
        output = finished(job, 0)
    for rank in (0, 1):
        assert re.search(rf"\[rank {rank} of 2, .*sum 3\.0 of {rank + 1}\.0, shared {{'from': 0}}", output), (
            output
        )
    assert output.count("said by 0") == 1 and "said by 1" not in output, "the stage itself does not continue"


@pytest.mark.slow
@LAUNCHERS
def test_an_error_passes_through(folder: Path, launcher: str) -> None:
    with start(folder, launcher, "fail") as job:
        output = finished(job, 1)
    assert "error: a row of rank 1 is broken" in output
    assert "runtime.launcher" in output and re.search(r"got: +exit code 1", output)


@pytest.mark.parametrize(
    ("launcher", "number", "code"),
    [
        (TORCHRUN, signal.SIGTERM, 143),
        pytest.param(TORCHRUN, signal.SIGINT, 130, marks=pytest.mark.slow),
        pytest.param(SRUNS, signal.SIGTERM, 143, marks=pytest.mark.slow),
        pytest.param(SRUNS, signal.SIGINT, 130, marks=pytest.mark.slow),
    ],
)
def test_a_signal_reaches_rank_0_and_all_end(
    folder: Path, launcher: str, number: signal.Signals, code: int
) -> None:
    with start(folder, launcher, "sleep") as job:
        found = told(job)
        job.send_signal(number)
        finished(job, code)
        assert all(gone(pid, 30) for pid in found.values())
    assert (folder / "closed 0").exists(), "rank 0 ended in order"


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_that_slurm_gives_to_the_tasks_alone_ends_the_stage_as_its_own_would(
    folder: Path, number: signal.Signals
) -> None:
    """As with `sbatch --signal=TERM@60`, the tasks get the signal; `dvc repro` and the stage do not."""
    with start(folder, SRUNS, "sleep") as job:
        found = told(job)
        for pid in found.values():
            os.kill(pid, number)
        assert "its processes were asked to stop, or one failed" in finished(job, 128 + number)
    assert (folder / "closed 0").exists(), "rank 0 ended in order"


@pytest.mark.slow
@LAUNCHERS
@pytest.mark.parametrize("killed", [0, 1])
def test_killing_one_rank_ends_all(folder: Path, launcher: str, killed: int) -> None:
    with start(folder, launcher, f"exchange without {killed}") as job:
        found = told(job)
        os.kill(found[killed], signal.SIGKILL)
        assert gone(found[1 - killed], 30)
        finished(job, 1)


@pytest.mark.slow
@LAUNCHERS
def test_killing_the_stage_ends_all(folder: Path, launcher: str) -> None:
    """Nobody is left to pass a signal on, but each process notices that the stage's store is gone."""
    with start(folder, launcher, "sleep") as job:
        found = told(job)
        job.kill()
        assert all(gone(pid, 60) for pid in found.values())


@pytest.mark.parametrize(
    ("code", "ends"),
    [(0, 0), (143, 143), (-15, 143), (130, 130), (-2, 130), (1, None), (137, None), (-9, None), (134, None)],
)
def test_who_was_asked_to_stop_did_not_fail(code: int, ends: int | None) -> None:
    """The shell's codes: 143 SIGTERM, 130 SIGINT, 137 SIGKILL (as when memory runs out), 134 SIGABRT."""
    assert launching.ending(code) == ends


def test_a_store_of_this_machine_is_out_of_others_reach() -> None:
    """The system's socket table shows who can reach it."""
    near, far = launching.kept(launching.LOCALHOST), launching.kept(socket.gethostname())
    listening = {
        found.laddr.port: found.laddr.ip
        for found in psutil.Process().net_connections("tcp")
        if found.status == psutil.CONN_LISTEN
    }
    assert listening[near.port] == "127.0.0.1"
    assert listening[far.port] in {"::", "0.0.0.0"}, "other machines must reach it"
    TCPStore(launching.LOCALHOST, near.port, is_master=False).set("found", "yes")
    assert near.get("found") == b"yes"


# ---- the launcher's command line and variables
# -----------------------------------------------------------------


def test_torchrun_is_that_of_this_python(monkeypatch: pytest.MonkeyPatch) -> None:
    assert launching.command("torchrun --nproc-per-node 2", ["python", "-m", "stages.finetune"]) == [
        *(
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--nproc-per-node",
            "2",
            "--no-python",
            "python",
            "-m",
            "stages.finetune",
        )
    ]
    monkeypatch.setenv(launcher_words.ALLOWED, "mpirun env")
    nested = launching.command("env -u X torchrun --no-python", ["own"])
    assert nested == ["env", "-u", "X", sys.executable, "-m", "torch.distributed.run", "--no-python", "own"]


@pytest.mark.parametrize(
    ("launcher", "problem"),
    [
        ("srun --ntasks $NOT_SET", r"the variable NOT_SET is not set"),
        ("nowhere --ntasks 2", r"program not found[\s\S]*got: +nowhere"),
        ("srun 'unclosed", r"cannot be parsed"),
        (" ", r"program not found"),
    ],
)
def test_a_launcher_that_cannot_be_started_is_named(launcher: str, problem: str) -> None:
    with pytest.raises(ParamsError, match=problem):
        launching.command(launcher, ["own"])


@pytest.mark.parametrize(
    "launcher",
    [
        "sh -c 'touch ran' --",
        "env touch ran",
        "torchrun evil.py",
        "torchrun --nproc-per-node 2 --no-python sh",
        "torchrun --standalone --module evil",
        "torchrun --no-pyth touch",
        "torchrun --log-dir /tmp",
        "torchrun --rdzv-id --run-path",
        "srun sh -c 'touch ran'",
        "srun --exclusive sh",
        "srun --ntasks 2 touch ran",
        "srun --prolog=evil",
        "srun --task-prolog evil",
        "srun -n2x",
        "srun --chdir /tmp",
        "srun --export=LD_PRELOAD=evil.so",
        "srun --mpi=/tmp/evil.so",
    ],
)
def test_a_launcher_starts_nothing_but_the_stage(
    launcher: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "srun").write_text("")
    (tmp_path / "srun").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(ParamsError, match=r"(?s)could start another program.*next:.*BATON_LAUNCHERS"):
        launching.command(launcher, ["own"])
    monkeypatch.setenv(launcher_words.ALLOWED, launcher.split(maxsplit=1)[0])
    assert launching.command(launcher, ["own"])[-1] == "own"


def test_options_that_clusters_ask_for_are_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "srun").write_text("")
    (tmp_path / "srun").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    launcher = "srun --mpi=pmix --export=ALL --jobid=5 --reservation=night_1 -K1 -n8"
    assert launching.command(launcher, ["own"])[-1] == "own"


def test_the_options_of_the_documentation_are_known() -> None:
    text = (ROOT / "docs/processes.md").read_text()
    examples = re.findall(r"launcher: ((?:torchrun|srun) [^`…]+)`", text)
    assert len(examples) >= 3
    for example in (*examples, TORCHRUN, SRUNS, "srun -n8 -N 2 --label", "torchrun --nproc_per_node=2"):
        launcher_words.check(example, example.split())


SLURM = {
    "SLURM_PROCID": "5",
    "SLURM_LOCALID": "1",
    "SLURM_NTASKS": "7",
    "SLURM_NODEID": "2",
    "SLURM_STEP_TASKS_PER_NODE": "2(x3),1",
}


def test_srun_s_variables_say_who_a_task_is() -> None:
    """As in srun's manual, `2(x3),1` means three machines with two tasks each and one with one."""
    place = launching.place(SLURM | {launching.MEET: "host:1"}, 64)
    assert place and (
        place.rank,
        place.local_rank,
        place.size,
        place.local_size,
        place.launched,
        place.bound,
    ) == (5, 1, 7, 2, True, False)
    last = launching.place(
        SLURM | {launching.MEET: "host:1", "SLURM_NODEID": "3", "SLURM_CPUS_PER_TASK": "8"}, 8
    )
    assert last and (last.local_size, last.bound) == (1, True)
    assert launching.place(SLURM, 64) is None, "a batch script is not a task"
    within = launching.place(
        SLURM
        | {
            launching.MEET: "host:1",
            "RANK": "3",
            "WORLD_SIZE": "4",
            "LOCAL_RANK": "1",
            "LOCAL_WORLD_SIZE": "2",
        },
        64,
    )
    assert within and (within.rank, within.size, within.local_size) == (3, 4, 2), "srun may start torchrun"
    with pytest.raises(ParamsError, match="does not give its processes their ranks"):
        launching.place({launching.MEET: "host:1"}, 64)


@pytest.mark.parametrize(
    ("local_rank", "local_size", "visible", "launched", "index"),
    [
        (0, 1, 1, False, 0),
        (3, 4, 4, False, 3),
        (3, 4, 8, True, 3),
        (3, 4, 1, True, 0),  # each task sees only its own device, as number 0
        (1, 2, 1, False, None),  # our two processes would share it
        (3, 4, 2, True, None),
        (0, 1, 4, True, 0),
    ],
)
def test_the_device_of_a_rank(
    local_rank: int, local_size: int, visible: int, launched: bool, index: int | None
) -> None:
    assert (
        device_index(Place(local_rank, local_rank, local_size, local_size, "a test", launched), visible)
        == index
    )


def test_a_launcher_s_processes_belong_to_the_stage_s_repro(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(supervision.OWNER, raising=False)
    own = supervision.owner()
    monkeypatch.setattr(supervision, "_ancestors", list)
    monkeypatch.setenv(supervision.OWNER, supervision.handed_on()[supervision.OWNER])
    assert supervision.owner() == own
    name, started, _ = json.loads(os.environ[supervision.OWNER])
    assert identity.Process(name, started).same(supervision.this())


def test_a_process_s_own_command() -> None:
    assert workers.command()[0] == sys.executable


# ---- heartbeats
# ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sign", "since", "problem"),
    [
        (b"7", 0.0, None),
        (b"7", 1000.0 - heartbeat.SILENT_SECONDS, None),
        (b"7", 999.0 - heartbeat.SILENT_SECONDS, "process 1 of this training run failed"),
        (b"done", 0.0, None),
        (b"failed", 1000.0, "process 1 of this training run failed"),
    ],
)
def test_who_is_silent_or_failed_is_named(sign: bytes, since: float, problem: str | None) -> None:
    found = heartbeat._judged({"0": (b"9", 1000.0), "1": (sign, since)}, 1000.0 if since else 0.0)
    assert (found is None) == (problem is None) and (problem or "") in str(found or "")


def test_a_process_that_gives_no_sign_any_more_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    from baton.errors import TrainingError

    monkeypatch.setattr(heartbeat, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(heartbeat, "SILENT_SECONDS", 0.5)
    store, alarm = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False), Alarm()
    own = heartbeat.Pulse(store, 0, 2, alarm)
    other = heartbeat.Pulse(store, 1, 2, Alarm())
    with alarm.armed(), own.beating():
        with other.beating():
            time.sleep(1.0)  # longer than the silence that is tolerated
        time.sleep(1.0)  # it has finished
    silent = Alarm()
    own = heartbeat.Pulse(store, 0, 2, silent)
    heartbeat.Pulse(store, 1, 2, Alarm())  # a first heartbeat, and no more
    with (
        pytest.raises(TrainingError, match=r"process 1 of this training run failed[\s\S]*no heartbeat"),
        silent.armed(),
        own.beating(),
    ):
        time.sleep(10.0)
