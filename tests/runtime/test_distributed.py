"""Test two real processes: they work as a group, and whatever ends one ends the other, with its error."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from baton import params
from baton.errors import ParamsError
from baton.runtime import distributed, exchange

ROOT = Path(__file__).parents[2]
LIMIT_SECONDS = 300.0  # a job takes four seconds; the machine may be busy
WANTED = params.read(ROOT / "params.yaml").runtime.model_copy(
    update={"device": "cpu", "precision": "fp32", "processes": 2}
)

JOB = """
import atexit, datetime, os, sys, time
from pathlib import Path

import pickle

import numpy as np
import torch
import torch.distributed as dist
import torch.distributed.distributed_c10d as c10d

from baton import console, params
from baton.errors import DataError
from baton.processes import alarm, supervision, workers
from baton.runtime import distributed, exchange

def unpickled(*_):
    raise AssertionError("a rank sends or opens a pickle")

c10d._object_to_tensor = c10d._tensor_to_object = unpickled

class Evil:
    def __reduce__(self):
        return os.mkdir, (f"opened by another than {os.getpid()}",)

def made(rank):
    asked = []
    found = distributed.once(lambda: [asked.append(rank), f"made by {rank}"][1])
    tensors = {"some": {"x": torch.arange(3.0), "n": torch.tensor(7)}, "none": {}}
    handed = distributed.HandedOut(tensors if rank == 0 else {}, torch.device("cpu"))
    pairs = [(handed[part][name], tensor) for part in handed for name, tensor in tensors[part].items()]
    same = all(torch.equal(one, other) for one, other in pairs)
    arrays = {"a": np.arange(6.0).reshape(2, 3), "b": np.array([True]), "none": np.zeros((0, 4), np.int32)}
    copies = distributed.once_arrays(lambda: arrays)
    same &= all(
        np.array_equal(copies[name], own) and copies[name].dtype == own.dtype for name, own in arrays.items()
    )
    same &= exchange.gather({"rank": rank, "text": "é" * rank}) == [
        {"rank": each, "text": "é" * each} for each in range(2)
    ]
    return f"{found}, asked {len(asked)}, handed {len(handed)} {same}"

def main():
    what, wanted = sys.argv[1], params.Runtime.model_validate_json(Path("wanted.json").read_text())
    if what == "early" and os.environ.get("RANK") == "1":
        raise DataError("rank 1 cannot even start")
    if "slowly" in sys.argv:
        alarm.EXIT_SECONDS = 0.1
    if "unwatched" in sys.argv:
        workers.Ranks._watch = lambda self: None
        supervision.die_with_parent = lambda number, parent: True
    if what in ("patient", "hasty"):
        distributed.MEETING = datetime.timedelta(seconds=5)
    if what == "hasty":
        distributed.EXCHANGE = distributed.MEETING
    with distributed.started(wanted) as machine:
        console.say(f"said by {machine.rank}")
        own = torch.tensor([machine.rank + 1.0])
        shared = distributed.share({"from": machine.rank})
        found = f"sum {distributed.total(own).item()} of {own.item()}, shared {shared}, {made(machine.rank)}"
        distributed.barrier()
        where = f"rank {machine.rank} of {machine.processes}, pid {os.getpid()}"
        found = f"[{where}, threads {torch.get_num_threads()}, {found}]"
        try:
            # The whole line at once: the other rank writes too. A signal may follow at once.
            os.write(1, f"{found}\\n".encode())
            work(what, machine.rank, own)
        finally:
            Path(f"closed {machine.rank}").touch()

def work(what, rank, own):
    if what == "attack":
        if rank:
            distributed.share(None)
        content = torch.frombuffer(bytearray(pickle.dumps(Evil())), dtype=torch.uint8)
        dist.broadcast(torch.tensor([len(content)]), 0)  # as torch sends objects
        dist.broadcast(content, 0)
    if what in ("fail", "python") and rank == 1:
        if "slowly" in sys.argv:
            atexit.register(time.sleep, 2)  # as Python takes on a busy machine
        raise DataError("a row of rank 1 is broken")
    if what == "fail" or what == f"exchange without {1 - rank}":
        distributed.total(own)  # the other never arrives here
    if what in ("patient", "hasty"):
        time.sleep(0 if rank else 8)  # rank 0 writes a model
        distributed.total(own)
    elif what != "end":
        time.sleep(60)

console.run_stage(main)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "job.py").write_text(JOB)
    (tmp_path / "wanted.json").write_text(WANTED.model_dump_json())
    return tmp_path


def start(folder: Path, *words: str, launcher: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, *launcher, "job.py", *words]
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def finished(job: subprocess.Popen[str], code: int) -> str:
    output, _ = job.communicate(timeout=LIMIT_SECONDS)
    assert job.returncode == code, output
    return output


def ranks(job: subprocess.Popen[str]) -> dict[int, int]:
    """Return rank -> process id, as soon as both have printed theirs."""
    assert job.stdout
    found: dict[int, int] = {}
    for line in job.stdout:
        if match := re.search(r"rank (\d) of 2, pid (\d+)", line):
            found[int(match[1])] = int(match[2])
        if len(found) == 2:
            break
    return found


def gone(pid: int, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.05)
    return False


def test_two_processes_are_a_group_and_only_rank_0_speaks(folder: Path) -> None:
    with start(folder, "end") as job:
        output = finished(job, 0)
    threads = max(len(os.sched_getaffinity(0)) // 2, 1)
    for rank in (0, 1):
        made = rf"made by 0, asked {int(rank == 0)}, handed 2 True"
        exchanged = rf"sum 3\.0 of {rank + 1}\.0, shared {{'from': 0}}, {made}"
        line = rf"\[rank {rank} of 2, pid \d+, threads {threads}, {exchanged}\]"
        assert re.search(line, output), output
    assert "said by 0" in output and "said by 1" not in output


def test_a_rank_never_opens_a_pickle(folder: Path) -> None:
    with start(folder, "attack") as job:
        output = finished(job, 1)
    assert not list(folder.glob("opened by *")), "rank 1 ran what it was sent"
    assert "Decode" in output


def test_only_plain_values_are_exchanged() -> None:
    assert exchange._plain({"a": [1, 2.5, None, True, "é", np.float32(0.5)]}) == {
        "a": [1, 2.5, None, True, "é", 0.5]
    }
    for value in (Path("x"), {1: 2}, (1, 2), b"x", [object()]):
        with pytest.raises(TypeError, match="is not exchanged between ranks"):
            exchange._plain(value)


@pytest.mark.parametrize("how", ["at once", pytest.param("slowly", marks=pytest.mark.slow)])
def test_a_rank_that_fails_ends_all_with_its_error(folder: Path, how: str) -> None:
    """Its connection is closed before its process ends, which rank 0 waits for."""
    with start(folder, "fail", how) as job:
        output = finished(job, 1)
    assert "error: a row of rank 1 is broken" in output
    assert "error: process 1 of this training run failed" in output and "exit code 1" in output


@pytest.mark.parametrize("killed", [0, 1])
def test_killing_one_rank_ends_the_other_in_its_exchange(folder: Path, killed: int) -> None:
    with start(folder, f"exchange without {killed}") as job:
        found = ranks(job)
        os.kill(found[killed], signal.SIGKILL)
        assert gone(found[1 - killed], 5)
        output = finished(job, 1 if killed else -signal.SIGKILL)
    assert ("process 1 of this training run failed" in output and "signal SIGKILL" in output) == bool(killed)


def test_rank_0_alone_obeys_a_signal_and_the_others_end_with_it(folder: Path) -> None:
    with start(folder, "sleep") as job:
        found = ranks(job)
        os.kill(found[1], signal.SIGTERM)
        os.kill(found[1], signal.SIGINT)
        assert not gone(found[1], 0.5)
        os.kill(found[0], signal.SIGTERM)
        finished(job, 143)
        assert gone(found[1], 1)
    assert (folder / "closed 0").exists() and not (folder / "closed 1").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("what", "code"), [("patient", 0), ("hasty", 1)])
def test_ranks_wait_for_lawful_work_of_rank_0_as_long_as_it_takes(folder: Path, what: str, code: int) -> None:
    """The negative control is `hasty`: an exchange with the time limit of the first meeting."""
    with start(folder, what) as job:
        output = finished(job, code)
    assert ("is lost" in output or "failed" in output) == bool(code)


@pytest.mark.slow
def test_a_rank_that_fails_ends_python_code_of_rank_0_in_order(folder: Path) -> None:
    with start(folder, "python") as job:
        begun = [ranks(job), time.monotonic()][1]
        output = finished(job, 1)
    assert (
        "error: a row of rank 1 is broken" in output
        and "error: process 1 of this training run failed" in output
    )
    assert time.monotonic() - begun < 15 and (folder / "closed 0").exists()


@pytest.mark.slow
def test_a_rank_that_cannot_start_ends_all(folder: Path) -> None:
    with start(folder, "early") as job:
        output = finished(job, 1)
    assert (
        "error: rank 1 cannot even start" in output
        and "error: process 1 of this training run failed" in output
    )


@pytest.mark.slow
@pytest.mark.parametrize("killed", [0, 1])
@pytest.mark.parametrize("watch", ["watched", "unwatched"])
def test_killing_one_rank_ends_the_other_outside_of_exchanges(folder: Path, killed: int, watch: str) -> None:
    """The negative control is `unwatched`: without this module's supervision, the other process continues."""
    with start(folder, "sleep", watch) as job:
        found = ranks(job)
        os.kill(found[killed], signal.SIGKILL)
        assert gone(found[1 - killed], 5) == (watch == "watched")
        if watch == "unwatched":
            os.kill(found[1 - killed], signal.SIGKILL)


@pytest.mark.slow
def test_torchrun_may_start_the_processes(folder: Path) -> None:
    (folder / "wanted.json").write_text(WANTED.model_copy(update={"processes": 1}).model_dump_json())
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    with start(folder, "end", launcher=launcher) as job:
        output = finished(job, 0)
    assert all(f"rank {rank} of 2" in output for rank in (0, 1)) and "said by 1" not in output
    with start(folder, "fail", launcher=launcher) as job:
        output = finished(job, 1)
    assert (
        "error: a row of rank 1 is broken" in output
        and "the connection to another process of this training run is lost" in output
    )


def test_params_must_not_contradict_the_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RANK": "0", "WORLD_SIZE": "4"}.items():
        monkeypatch.setenv(name, value)
    with (
        pytest.raises(ParamsError, match=r"runtime.processes[\s\S]*got: +2[\s\S]*WORLD_SIZE 4"),
        distributed.started(WANTED),
    ):
        pass


@pytest.mark.parametrize("processes", [1, "auto"])
def test_one_process_is_no_group(processes: int | str) -> None:
    with distributed.started(WANTED.model_copy(update={"processes": processes})) as machine:
        assert (machine.processes, machine.rank, machine.is_main) == (1, 0, True)
        assert not torch.distributed.is_initialized()
        tensor = torch.ones(1)
        assert (
            distributed.total(tensor) is tensor
            and distributed.share("own") == "own"
            and distributed.once(lambda: "own") == "own"
        )
        distributed.barrier()
