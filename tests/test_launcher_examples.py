"""The files in examples/launchers: each is run as its scheduler runs it, by two processes on this machine."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from baton.errors import ParamsError
from baton.runtime import launcher_words
from tests.runtime.test_launching import SRUN
from tests.test_distributed_stages import exact
from tests.test_pipeline import Project

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "examples/launchers"
SHARED = "/shared/project"  # where the files expect the project
SECONDS = 900.0
LAUNCHER = r"^# runtime.launcher: (.*)$"

pytestmark = pytest.mark.alone


def read(name: str) -> Any:
    return YAML(typ="safe", pure=True).load(FOLDER / name)


def launcher(name: str) -> str:
    """Return the setting that a file asks for in params.yaml."""
    (found,) = re.findall(LAUNCHER, (FOLDER / name).read_text(), re.MULTILINE)
    return str(found)


def pods() -> list[tuple[str, dict[str, str]]]:
    """Return the script and environment of each pod of the PyTorchJob, as the operator starts it."""
    job, made = read("pytorchjob.yaml"), []
    assert (job["apiVersion"], job["kind"]) == ("kubeflow.org/v1", "PyTorchJob")
    replicas = job["spec"]["pytorchReplicaSpecs"]
    kinds = [kind for kind in ("Master", "Worker") for _ in range(replicas[kind]["replicas"])]
    for rank, kind in enumerate(kinds):
        (container,) = replicas[kind]["template"]["spec"]["containers"]
        assert container["name"] == "pytorch" and container["command"] == ["sh", "-c"]
        assert container["workingDir"] == SHARED
        own = {each["name"]: str(each["value"]) for each in container["env"]}
        assert own["PET_NNODES"] == str(len(kinds))
        assert own["PET_NPROC_PER_NODE"] == str(container["resources"]["limits"]["nvidia.com/gpu"])
        operator = {"RANK": rank, "WORLD_SIZE": len(kinds), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port()}
        made.append((container["args"][0], own | {name: str(value) for name, value in operator.items()}))
    return [(script, own | {"PET_NPROC_PER_NODE": "1"}) for script, own in made]


def nodes() -> list[tuple[str, dict[str, str]]]:
    """Return the script and environment of each node of the SkyPilot task, as SkyPilot starts it."""
    task = read("skypilot.yaml")
    count = task["num_nodes"]
    (gpus,) = re.findall(r":(\d+)$", task["resources"]["accelerators"])
    assert int(gpus) > 1
    common = {
        "SKYPILOT_NUM_NODES": count,
        "SKYPILOT_NUM_GPUS_PER_NODE": 1,
        "SKYPILOT_NODE_IPS": "127.0.0.1\n127.0.0.2",
    }
    script = task["run"].replace("29500", port())
    return [
        (script, {name: str(value) for name, value in (common | {"SKYPILOT_NODE_RANK": rank}).items()})
        for rank in range(count)
    ]


def batch() -> list[tuple[str, dict[str, str]]]:
    """Return the batch script and its environment on the first machine, where SLURM starts it."""
    script = (FOLDER / "slurm.sbatch").read_text()
    wanted = dict(re.findall(r"^#SBATCH --([a-z-]+)=(\S+)$", script, re.MULTILINE))
    assert wanted["nodes"] == "2" and wanted["signal"] == "TERM@60"
    slurm = {
        "SLURM_JOB_ID": "1",
        "SLURM_PROCID": "0",
        "SLURM_NTASKS": "16",
        "SLURM_CPUS_PER_TASK": wanted["cpus-per-task"],
    }
    return [(script, slurm)]


JOBS = {"slurm.sbatch": batch, "pytorchjob.yaml": pods, "skypilot.yaml": nodes}
PORTS: list[str] = []


def port() -> str:
    """Return a port that is free, as is the one above it; the same for all machines of a test."""
    while not PORTS:
        with socket.socket() as one, socket.socket() as two, contextlib.suppress(OSError):
            one.bind(("127.0.0.1", 0))
            two.bind(("127.0.0.1", one.getsockname()[1] + 1))
            PORTS.append(str(one.getsockname()[1]))
    return PORTS[0]


@pytest.fixture(autouse=True)
def another_port() -> None:
    PORTS.clear()


@pytest.mark.parametrize("name", JOBS)
def test_a_file_s_launcher_is_one_that_its_machines_allow(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert {path.name for path in FOLDER.iterdir()} == {*JOBS}
    words = launcher(name).split()
    if words[0] != "srun":
        with pytest.raises(ParamsError, match="could start another program"):
            launcher_words.check(launcher(name), words)
    (allowed,) = {*re.findall(r"BATON_LAUNCHERS(?:=|, value: )([^\s}]+)", (FOLDER / name).read_text())} or {
        ""
    }
    monkeypatch.setenv(launcher_words.ALLOWED, allowed)
    launcher_words.check(launcher(name), words)
    scripts = [script for script, _ in JOBS[name]()]
    assert scripts and all(
        subprocess.run(["sh", "-n", "-c", script], check=False).returncode == 0 for script in scripts
    )


@pytest.fixture
def project(tokenized: Path, tmp_path: Path) -> Project:
    """The tiny project up to its arrays, with a .venv of this Python."""
    made = Project(tmp_path / "project")
    shutil.copytree(tokenized, made.folder)
    made.edit(exact)
    programs = made.folder / ".venv/bin"
    programs.mkdir(parents=True)
    lines = {
        "baton": "-c 'from baton.cli.app import app; app()'",
        "dvc": "-m dvc",
    }
    for name, words in lines.items():
        (programs / name).write_text(f'#!/bin/sh\nexec {sys.executable} {words} "$@"\n')
        (programs / name).chmod(0o755)
    (tmp_path / "srun").write_text(SRUN.format(python=sys.executable).replace("sys.argv[2:]", "sys.argv[3:]"))
    (tmp_path / "srun").chmod(0o755)
    return made


@contextlib.contextmanager
def machines(project: Project, name: str) -> Iterator[list["subprocess.Popen[str]"]]:
    """Start the job of a file, a process for each machine; all are in the project's folder."""
    common = {
        "BATON_PYTHON": sys.executable,
        "PYTHONPATH": str(project.folder / "src"),
        "DVC_SITE_CACHE_DIR": str(project.folder / ".baton/dvc"),
        "PATH": f"{project.folder.parent}:{os.environ['PATH']}",
        "COLUMNS": "200",
        "GLOO_SOCKET_IFNAME": "lo",
    }
    started = []
    for number, (script, own) in enumerate(JOBS[name]()):
        path = project.folder.parent / f"machine {number}"
        path.write_text(script.replace(SHARED, str(project.folder)))
        with path.with_suffix(".log").open("w") as log:
            started.append(
                subprocess.Popen(
                    ["sh", str(path)],
                    env={**os.environ, **common, **own},
                    cwd=project.folder,
                    stdout=log,
                    stderr=log,
                    text=True,
                )
            )
    try:
        yield started
    finally:
        for process in started:
            process.kill()
            process.wait()


def logs(project: Project) -> list[str]:
    return [path.read_text() for path in sorted(project.folder.parent.glob("machine *.log"))]


@pytest.mark.slow
@pytest.mark.parametrize("name", JOBS)
def test_a_file_trains_by_two_processes(project: Project, name: str) -> None:
    project.edit(lambda raw: raw["runtime"].update(launcher=launcher(name), processes="auto"))
    with machines(project, name) as started:
        codes = [process.wait(SECONDS) for process in started]
    said = logs(project)
    assert codes == [0] * len(started), "\n\n".join(said)[-8000:]
    for stage in ("finetune", "distill"):
        assert f"Running stage '{stage}'" in said[0]
        if len(said) > 1:
            assert f"machine 0 has started {stage}" in said[1]
    assert len(re.findall(r"processes.*2.*set by", said[0])) == 2, said[0]
    assert project.repro() == [], "DVC knows all of it"


@pytest.mark.slow
def test_stopping_machine_0_ends_the_others_with_a_checkpoint(project: Project) -> None:
    project.edit(lambda raw: raw["finetune"].update(epochs=500))
    project.edit(lambda raw: raw["runtime"].update(launcher=launcher("pytorchjob.yaml"), processes="auto"))
    with machines(project, "pytorchjob.yaml") as started:
        until = time.monotonic() + SECONDS
        while "epoch" not in logs(project)[0] or "machine 0 has started finetune" not in logs(project)[1]:
            assert time.monotonic() < until and all(process.poll() is None for process in started), logs(
                project
            )
            time.sleep(0.5)
        started[0].send_signal(signal.SIGTERM)
        codes = [process.wait(SECONDS) for process in started]
    assert codes[0] == codes[1] != 0, logs(project)
    assert [*(project.folder / ".baton/checkpoints").rglob("*.safetensors")], "the next job goes on from here"


def test_a_missing_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from baton.cli import machines as own

    given: Mapping[str, str] = {
        "PET_NODE_RANK": "1",
        "PET_NNODES": "2",
        "PET_MASTER_ADDR": "first",
        "PET_MASTER_PORT": "9",
    }
    assert own._machine(given) == own.Machine(1, 2, "first", 10)
    for name in given:
        with pytest.raises(ParamsError, match=rf"{name} is missing[\s\S]*examples/launchers"):
            own._machine({key: value for key, value in given.items() if key != name})
    with pytest.raises(ParamsError, match=r"PET_NODE_RANK is missing\n +got: +first"):
        own._machine({**given, "PET_NODE_RANK": "first"})
