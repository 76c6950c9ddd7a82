"""`dvc repro` is stopped or killed during training: no process is left, and the next `dvc repro` resumes."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.test_pipeline import Project

pytestmark = [pytest.mark.alone, pytest.mark.slow]
GONE_SECONDS = 5.0


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, tokenized: Path) -> Iterator[Project]:
    """The tiny project up to its arrays, with a training run of some seconds, saved after every step."""
    made = Project(tmp_path_factory.mktemp("interrupted") / "project")
    shutil.copytree(tokenized, made.folder)
    made.edit(longer)
    yield made
    shutil.rmtree(made.folder)


def longer(raw: dict[str, Any], epochs: int = 30) -> None:
    """Train for so many epochs, each step with a checkpoint."""
    for section in ("finetune", "distill"):
        raw[section] |= {
            "epochs": epochs,
            "min_steps": 0,
            "dropout": 0.1,
            "evaluations_per_epoch": 1,
            "log_every": 1,
        }
    raw["runtime"] |= {"checkpoint_seconds": 0.001}


def start(project: Project, stage: str) -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        "BATON_PYTHON": sys.executable,
        "DVC_SITE_CACHE_DIR": str(project.folder / ".baton/dvc"),
    }
    command = [sys.executable, "-m", "dvc", "repro", "--single-item", stage]
    return subprocess.Popen(
        command,
        cwd=project.folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def ours(project: Project) -> list[psutil.Process]:
    """Processes that work in the project's folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if Path(process.cwd()) == project.folder and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def checkpoints(project: Project, training: str) -> list[str]:
    return sorted(path.name for path in project.folder.glob(f".baton/checkpoints/*/*/{training}/[!.]*"))


def stop_in_the_middle(
    project: Project, training: str, stage: str, number: signal.Signals, steps: int
) -> int:
    """Stop `dvc` when `training` is `steps` further; return the step of the newest checkpoint."""
    lock = (project.folder / "dvc.lock").read_bytes()
    with start(project, stage) as process:
        before = last_step(project, training)
        deadline = time.monotonic() + 90
        while last_step(project, training) < before + steps:
            assert process.poll() is None, process.stdout.read() if process.stdout else ""
            assert time.monotonic() < deadline, "training makes no progress"
            time.sleep(0.02)
        assert len(ours(project)) >= 2
        process.send_signal(number)
        deadline = time.monotonic() + GONE_SECONDS
        while left := ours(project):
            assert time.monotonic() < deadline, [item.cmdline() for item in left]
            time.sleep(0.05)
    assert (project.folder / "dvc.lock").read_bytes() == lock, "DVC has committed nothing"
    return last_step(project, training)


def last_step(project: Project, training: str) -> int:
    return max((int(name.split("-")[0]) for name in checkpoints(project, training)), default=0)


def finish(project: Project, stage: str) -> str:
    with start(project, stage) as process:
        output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    return output


def check_kills(
    project: Project,
    stage: str,
    model: str,
    kills: int,
    steps: int = 7,
    log_every: int = 2,
    training: str | None = None,
) -> None:
    """Check that a stage gives the same bytes if it is killed, each time after at least `steps` more steps.

    `log_every` makes the run that is killed another one than that it is compared with. `training` names the
    training run that is killed; by default it is that of the model.
    """
    name = f"{training or model}-0"
    finish(project, stage)
    whole = project.digests()
    project.edit(lambda raw: raw[stage].update(log_every=log_every))
    for _ in range(kills):
        with start(project, stage) as process:
            before = last_step(project, name)
            while last_step(project, name) < before + steps:
                assert process.poll() is None, process.stdout.read() if process.stdout else ""
            for one in ours(project):
                os.kill(one.pid, signal.SIGKILL)
    assert "resumed after step" in finish(project, stage)
    after = project.digests()
    same = [name for name in whole if name.startswith(("models/", "data/predictions/"))]
    assert {f"models/{model}/baton.json", f"data/predictions/{model}/val.parquet"} <= {*same}
    assert [name for name in same if whole[name] != after.get(name)] == []


@pytest.fixture(scope="module")
def stopped(project: Project) -> tuple[int, int, str]:
    """A training run that was terminated, killed and finished.

    The steps at which it was stopped, and the output of the last attempt.
    """
    first = stop_in_the_middle(project, "teacher-0", "finetune", signal.SIGTERM, 5)
    second = stop_in_the_middle(project, "teacher-0", "finetune", signal.SIGKILL, 5)
    return first, second, finish(project, "finetune")


@pytest.mark.usefixtures("quiet_mlflow")
def test_terminated_then_killed(project: Project, stopped: tuple[int, int, str]) -> None:
    from mlflow import MlflowClient

    first, second, output = stopped
    assert first + 5 <= second
    resumed = int(output.split("resumed after step ")[1].split(" ")[0].replace(",", ""))
    assert resumed == second
    assert checkpoints(project, "teacher-0") == []
    client = MlflowClient(f"sqlite:///{project.folder}/mlflow.db")
    runs = client.search_runs([item.experiment_id for item in client.search_experiments()])
    (run,) = [run for run in runs if run.info.run_name == "finetune"]
    assert run.info.status == "FINISHED"
    history = client.get_metric_history(run.info.run_id, "teacher/loss")
    steps = [point.step for point in history]
    assert sorted(steps) == list(range(1, len(steps) + 1)), "every step once"
    assert len(runs) == 2, "one pipeline run, one stage run"


@pytest.mark.slow
@pytest.mark.usefixtures("stopped")
def test_the_result_is_that_of_an_uninterrupted_training(project: Project) -> None:
    interrupted = project.digests()
    project.run(sys.executable, "-m", "dvc", "repro", "--single-item", "--force", "finetune")
    assert project.digests() == interrupted


@pytest.mark.slow
@pytest.mark.usefixtures("stopped")
def test_killed_between_the_trainings_of_distill(project: Project) -> None:
    """The student is finished when the control is killed: it is not trained again."""
    stop_in_the_middle(project, "student-0", "distill", signal.SIGKILL, 5)
    stop_in_the_middle(project, "control-0", "distill", signal.SIGKILL, 5)
    output = finish(project, "distill")
    assert output.count("finished earlier, in ") == output.count("resumed after step ") == 1
    interrupted = project.digests()
    project.run(sys.executable, "-m", "dvc", "repro", "--single-item", "--force", "distill")
    assert project.digests() == interrupted


@pytest.mark.slow
@pytest.mark.usefixtures("stopped")
def test_killed_in_the_second_of_three_seeds(project: Project) -> None:
    """Seed 0 is finished before seeds are added; seed 1 resumes where it was killed."""
    project.edit(lambda raw: raw["finetune"].update(seeds=[0, 1, 2]))
    stop_in_the_middle(project, "teacher-1", "finetune", signal.SIGKILL, 5)
    project.edit(lambda raw: raw["runtime"].update(checkpoint_seconds=60))  # irrelevant here, and faster
    output = finish(project, "finetune")
    assert output.count("finished earlier, in ") == output.count("resumed after step ") == 1
    interrupted = project.digests()
    forced = project.run(sys.executable, "-m", "dvc", "repro", "--single-item", "--force", "finetune")
    assert "finished earlier" not in forced.stdout + forced.stderr and "resumed" not in forced.stdout
    assert project.digests() == interrupted
