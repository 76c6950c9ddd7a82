"""Test that checkpoints are complete or absent, verified, locked, and found only by the same experiment."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from baton.errors import OutputError, TrainingError
from baton.processes import ending
from baton.train import checkpoint, checkpoint_folders, resume, snapshot
from tests import tiny

ROOT = Path(__file__).parents[2]


def parts(value: float) -> dict[str, dict[str, torch.Tensor]]:
    return {
        "model": {"weight": torch.full((100, 10), value)},
        "optimizer": {"step.weight": torch.tensor(value)},
        "best": {},
    }


@pytest.fixture
def saved(tmp_path: Path) -> checkpoint.Checkpoints:
    """Save three checkpoints, of which two remain."""
    made = checkpoint.Checkpoints(tmp_path / "teacher", 0.0, {"run": "r1"})
    for step in (1, 2, 3):
        made.save(f"{step:04}", parts(step), {"step": step})
    return made


def test_what_was_saved_is_loaded_and_two_are_kept(saved: checkpoint.Checkpoints) -> None:
    found = saved.load()
    assert found is not None and found.state == {"step": 3, "notes": {"run": "r1"}}
    assert (
        torch.equal(found.parts["model"]["weight"], torch.full((100, 10), 3.0)) and found.parts["best"] == {}
    )
    assert sorted(path.name for path in saved.folder.iterdir()) == ["0002", "0003"]


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "name", ["model.safetensors", "optimizer.safetensors", "best.safetensors", "state.json", "manifest.json"]
)
@pytest.mark.parametrize("damage", [truncate, flip, Path.unlink])
def test_a_broken_one_is_named_and_the_one_before_is_used(
    saved: checkpoint.Checkpoints,
    name: str,
    damage: Callable[[Path], object],
    capsys: pytest.CaptureFixture[str],
) -> None:
    damage(saved.folder / "0003" / name)
    found = saved.load()
    assert found is not None and found.state["step"] == 2
    assert "0003 is broken" in capsys.readouterr().out
    saved.save("0003", parts(3), {"step": 3})  # its name is free again
    assert (found := saved.load()) is not None and found.state["step"] == 3


def test_with_the_last_one_broken_the_training_starts_anew(
    saved: checkpoint.Checkpoints, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("0002", "0003"):
        truncate(saved.folder / name / "state.json")
    assert saved.load() is None
    assert "training restarts from the beginning" in " ".join(capsys.readouterr().out.split())


def test_what_cannot_be_read_is_kept(saved: checkpoint.Checkpoints, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(folder: Path) -> checkpoint.Checkpoint:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(checkpoint, "_read", refused)
    with pytest.raises(OutputError, match="0003 cannot be read"):
        saved.load()
    assert sorted(path.name for path in saved.folder.iterdir()) == ["0002", "0003"]


def test_what_a_killed_save_left_goes_with_the_next(saved: checkpoint.Checkpoints) -> None:
    (saved.folder / ".0004").mkdir()
    saved.save("0005", parts(5), {"step": 5})
    assert sorted(path.name for path in saved.folder.iterdir()) == ["0003", "0005"]


def test_without_the_check_a_flipped_bit_would_be_used(
    saved: checkpoint.Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: one bit in the weights, which no file format notices."""
    path = saved.folder / "0003" / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    manifest = saved.folder / "0003" / "manifest.json"
    expected = json.loads(manifest.read_bytes())
    expected["model.safetensors"]["sha256"] = checkpoint.hashlib.sha256(content).hexdigest()
    manifest.write_text(json.dumps(expected))
    found = saved.load()
    assert found is not None and not torch.equal(found.parts["model"]["weight"], torch.full((100, 10), 3.0))


FULL_DISK = """
import sys
from pathlib import Path
from baton.errors import OutputError
from tests.train.test_checkpoint import checkpoint, torch
saved = checkpoint.Checkpoints(Path(sys.argv[1]), 0.0, {})
saved.save("1", {"model": {"weight": torch.zeros(1000)}}, {})
try:
    saved.save("2", {"model": {"weight": torch.zeros(1_000_000)}}, {})
except OutputError as error:
    print(error)
found = saved.load()
names = sorted(path.name for path in saved.folder.iterdir())
print("left:", names, found is not None and len(found.parts["model"]["weight"]))
"""


def test_a_full_disk_leaves_the_one_before(tmp_path: Path) -> None:
    program = f"{sys.executable} -c '{FULL_DISK}' {tmp_path}/teacher"
    command = f"mount -t tmpfs -o size=2m tmpfs {tmp_path} && exec {program}"
    if subprocess.run(
        ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", str(tmp_path)], capture_output=True, check=False
    ).returncode:
        pytest.skip("this machine lets nobody mount a tmpfs")
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}/src:{ROOT}"}
    result = subprocess.run(
        ["unshare", "-rm", "sh", "-c", command],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert f"{tmp_path}/teacher/2 cannot be written" in result.stdout, result.stderr
    assert "No space left on device" in result.stdout and "room for 4,000,000 bytes" in result.stdout
    assert "left: ['1'] 1000" in result.stdout


@pytest.fixture
def full_disk(saved: checkpoint.Checkpoints, monkeypatch: pytest.MonkeyPatch) -> None:
    """It fills up in the middle of a save."""
    put = checkpoint_folders.put

    def full(path: Path, content: Any) -> dict[str, object]:
        if path.name == "best.safetensors":
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return put(path, content)

    monkeypatch.setattr(checkpoint_folders, "put", full)


FULL = (
    r"0004 cannot be written[\s\S]*No space left on device: .*best.safetensors; "
    r"[\d,]+ bytes are free[\s\S]*room for 8,008 bytes"
)


@pytest.mark.usefixtures("full_disk")
def test_a_disk_that_fills_up_in_the_middle(saved: checkpoint.Checkpoints) -> None:
    with pytest.raises(OutputError, match=FULL):
        saved.save("0004", parts(4), {"step": 4})
    assert sorted(path.name for path in saved.folder.iterdir()) == ["0002", "0003"]


# ---- written while training continues
# --------------------------------------------------------------------------


@pytest.fixture
def held_back(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Nothing is written until this is set."""
    go, fill = threading.Event(), checkpoint._fill

    def late(*arguments: Any) -> None:
        assert go.wait(60)
        fill(*arguments)

    monkeypatch.setattr(checkpoint, "_fill", late)
    yield go
    go.set()


def test_what_changes_meanwhile_is_not_saved(
    saved: checkpoint.Checkpoints, held_back: threading.Event
) -> None:
    values, state = parts(4), {"points": [1]}
    saved.save("0004", values, state, wait=False)
    values["model"]["weight"].add_(1)  # as an optimizer does
    state["points"].append(2)
    saved.notes["run"] = "r2"
    assert not saved.due() and not (saved.folder / "0004").exists()
    held_back.set()
    saved.wait()
    found = saved.load()
    assert found is not None and torch.equal(found.parts["model"]["weight"], torch.full((100, 10), 4.0))
    assert found.state == {"points": [1], "notes": {"run": "r1"}}


def test_without_the_copy_it_would_be(
    saved: checkpoint.Checkpoints, held_back: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control."""
    monkeypatch.setattr(snapshot.Snapshot, "take", lambda self, values: (values, lambda: None))
    values = parts(4)
    saved.save("0004", values, {}, wait=False)
    values["model"]["weight"].add_(1)
    held_back.set()
    saved.wait()
    found = saved.load()
    assert found is not None and torch.equal(found.parts["model"]["weight"], torch.full((100, 10), 5.0))


def test_the_next_waits_for_the_one_that_is_being_written(
    saved: checkpoint.Checkpoints, held_back: threading.Event
) -> None:
    saved.save("0004", parts(4), {"step": 4}, wait=False)
    threading.Timer(0.1, held_back.set).start()
    saved.save("0005", parts(5), {"step": 5})
    assert sorted(path.name for path in saved.folder.iterdir()) == ["0004", "0005"]
    assert (found := saved.load()) is not None and torch.equal(
        found.parts["model"]["weight"], torch.full((100, 10), 5.0)
    )


@pytest.mark.usefixtures("full_disk")
def test_the_training_is_told_that_writing_failed(saved: checkpoint.Checkpoints) -> None:
    saved.save("0004", parts(4), {"step": 4}, wait=False)
    with pytest.raises(OutputError, match=FULL):
        while not saved.due():
            time.sleep(0.001)
    assert sorted(path.name for path in saved.folder.iterdir()) == ["0002", "0003"]
    saved.wait()  # it is reported once


@pytest.mark.usefixtures("full_disk")
def test_the_end_of_a_training_tells_too(saved: checkpoint.Checkpoints) -> None:
    with pytest.raises(OutputError, match=FULL), saved.writing():
        saved.save("0004", parts(4), {"step": 4}, wait=False)


@pytest.mark.usefixtures("full_disk")
def test_the_error_of_the_training_itself_comes_first(
    saved: checkpoint.Checkpoints, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(TrainingError, match="diverged"), saved.writing():
        saved.save("0004", parts(4), {"step": 4}, wait=False)
        raise TrainingError("diverged")
    assert "0004 cannot be written" in capsys.readouterr().out


@pytest.mark.parametrize("failing", ["written", "unpinned"])
def test_no_other_error_hides_it(
    saved: checkpoint.Checkpoints,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    failing: str,
) -> None:
    """After a late CUDA error, waiting for the copy and unpinning it fail as well."""

    def fail(*_: Any) -> None:
        raise (RuntimeError if failing == "written" else AssertionError)("a failure of CUDA")

    if failing == "written":
        monkeypatch.setattr(checkpoint, "_fill", fail)
    else:
        monkeypatch.setattr(snapshot.pinning, "unpin_memory", fail)
        monkeypatch.setattr(snapshot.pinning, "pin_memory", lambda address, size: None)
        assert saved._snapshot._grow(1 << 20, pin=True)
    with pytest.raises(TrainingError, match="diverged"), saved.writing():
        saved.save("0004", parts(4), {"step": 4}, wait=False)
        raise TrainingError("diverged")
    assert "a failure of CUDA" in capsys.readouterr().out


def test_whatever_the_thread_that_writes_meets_is_an_error_of_ours(
    saved: checkpoint.Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise RuntimeError("CUDA error: unspecified launch failure\nmore")

    monkeypatch.setattr(snapshot.Snapshot, "take", lambda self, values: (values, fail))
    failure = "RuntimeError: CUDA error: unspecified launch failure"
    told = rf"0004 cannot be written\n.*got: +{failure}\n.*next: +run again"
    with pytest.raises(OutputError, match=told), saved.writing():
        saved.save("0004", parts(4), {"step": 4}, wait=False)
    assert sorted(path.name for path in saved.folder.iterdir()) == ["0002", "0003"]


def test_one_that_could_not_be_written_does_not_cost_the_last(
    saved: checkpoint.Checkpoints, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The disk was full for a while, and a signal ends training before the loop asks again."""
    fill = checkpoint._fill

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "model.safetensors")

    monkeypatch.setattr(checkpoint, "_fill", full)
    saved.save("0004", parts(4), {"step": 4}, wait=False)
    assert saved._pending is not None and saved._pending.exception()
    monkeypatch.setattr(checkpoint, "_fill", fill)
    with saved.writing():
        saved.save("0005", parts(5), {"step": 5})
    assert (found := saved.load()) is not None and found.state["step"] == 5
    assert "0004 cannot be written" in capsys.readouterr().out


def test_a_fault_of_the_writer_itself_is_not_only_printed(
    saved: checkpoint.Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a checkpoint without room may be lost; a fault of ours ends training at the next save."""

    def fault(*_: Any) -> None:
        raise AssertionError("a fault of ours")

    monkeypatch.setattr(checkpoint.Checkpoints, "_write", fault)
    saved.save("0004", parts(4), {"step": 4}, wait=False)
    with pytest.raises(AssertionError, match="a fault of ours"):
        saved.save("0005", parts(5), {"step": 5})


def test_a_training_that_fails_leaves_the_last_one_whole(
    saved: checkpoint.Checkpoints, held_back: threading.Event
) -> None:
    threading.Timer(0.1, held_back.set).start()
    with pytest.raises(TrainingError), saved.writing():
        saved.save("0004", parts(4), {"step": 4}, wait=False)
        raise TrainingError("diverged")
    assert sorted(path.name for path in saved.folder.iterdir()) == ["0003", "0004"]


def test_a_signal_during_a_write_that_fails_loses_neither(
    saved: checkpoint.Checkpoints, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The signal arrives while training waits for the write, which then fails."""

    def full(*_: Any) -> None:
        while signal.getsignal(signal.SIGTERM) is handler:
            time.sleep(0.001)
        os.kill(os.getpid(), signal.SIGTERM)
        raise OSError(errno.ENOSPC, "No space left on device", "model.safetensors")

    monkeypatch.setattr(checkpoint, "_fill", full)
    with ending.sigterm_raises():
        handler = signal.getsignal(signal.SIGTERM)
        with pytest.raises(SystemExit, match="143"), saved.writing():
            saved.save("0004", parts(4), {"step": 4}, wait=False)
            saved.wait()
    assert "0004 cannot be written" in capsys.readouterr().out


# ---- the same experiment only
# ----------------------------------------------------------------------------------

SECTIONS: dict[str, Any] = {
    "finetune": {"learning_rate": 0.1, "head": {"kind": "linear"}},
    "runtime": {"checkpoint_seconds": 60},
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Create a project with a stage that depends on a data folder and a source file."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "arrays.npy").write_bytes(b"0123")
    (tmp_path / "code.py").write_text("x = 1\n")
    (tmp_path / "dvc.yaml").write_text("stages:\n  finetune:\n    cmd: x\n    deps: [data, code.py]\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return tmp_path


def interrupted(sections: dict[str, Any] = SECTIONS, **machine: Any) -> checkpoint.Checkpoint | None:
    """Return what an attempt finds; it leaves a checkpoint if it finds none."""
    with resume.opened("finetune", sections, tiny.machine(**machine), [0]) as stage:
        stage.notes["run"] = "r7"
        training = stage.training("teacher-0")
        found = training.load()
        if found is None:
            training.save("0001", parts(1), {"step": 1})
        else:
            assert stage.note("run") == "r7"
        return found


def test_bytecode_is_no_other_code(project: Path) -> None:
    """Any process that imports the code may write it, with the time of its source's last change in it."""
    assert interrupted() is None
    (project / "data/__pycache__").mkdir()
    (project / "data/__pycache__/x.cpython-311.pyc").write_bytes(b"1")
    assert interrupted() is not None
    (project / "data/arrays.npy").write_bytes(b"0124")
    assert interrupted() is None


def test_the_same_experiment_goes_on(project: Path) -> None:
    assert interrupted() is None
    assert interrupted() is not None
    harmless = {**SECTIONS, "runtime": {"checkpoint_seconds": 5}}
    assert (
        interrupted(harmless, checkpoint_seconds=5, loader_workers=1) is not None
    )  # these do not affect the course of training


def change_param(project: Path) -> dict[str, Any]:
    return {**SECTIONS, "finetune": {"learning_rate": 0.2, "head": {"kind": "linear"}}}


def change_data(project: Path) -> dict[str, Any]:
    flip(project / "data" / "arrays.npy")
    return SECTIONS


def change_source(project: Path) -> dict[str, Any]:
    (project / "code.py").write_text("x = 2\n")
    return SECTIONS


@pytest.mark.parametrize(
    ("change", "named"),
    [(change_param, "params finetune.learning_rate"), (change_data, "data"), (change_source, "code.py")],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_changed_experiment_starts_anew(
    project: Path, change: Any, named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert interrupted() is None
    assert interrupted(change(project)) is None
    output = " ".join(capsys.readouterr().out.split())
    assert f"not resumed; it differs in {named}. " in output


def test_another_precision_or_number_of_threads_starts_anew(project: Path) -> None:
    assert interrupted() is None
    assert interrupted(precision="bf16") is None
    assert interrupted(threads=2) is None


def test_success_leaves_nothing(project: Path) -> None:
    interrupted()
    with resume.opened("finetune", SECTIONS, tiny.machine(), [0]) as stage:
        stage.succeeded([0])
    assert list((project / ".baton/checkpoints/finetune").iterdir()) == []


def test_a_second_writer_is_refused_by_name(project: Path) -> None:
    code = "from tests.train.test_checkpoint import *\n"
    code += "try:\n    interrupted()\nexcept TrainingError as error:\n    print(error)\n"
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}/src:{ROOT}"}
    command = [sys.executable, "-c", code]
    with resume.opened("finetune", SECTIONS, tiny.machine(), [0]):
        result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert "another process is doing this training run" in result.stdout, result.stderr
    assert f"got:      process {os.getpid()} on " in result.stdout
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.stdout == "" and result.returncode == 0, "the lock ends with its process"
    shutil.rmtree(project / ".baton")


def test_the_error_of_a_second_writer_is_a_training_error(project: Path) -> None:
    machine = tiny.machine()
    with (
        resume.opened("finetune", SECTIONS, machine, [0]),
        pytest.raises(TrainingError),
        resume.opened("finetune", SECTIONS, machine, [0]),
    ):
        pass
