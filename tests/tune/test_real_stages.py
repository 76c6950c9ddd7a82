"""`baton tune` with the real stages, a tiny random BERT on docstrings: two workers, killed twice."""

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from baton import params
from tests.compare import fake_project
from tests.test_pipeline import Project

pytestmark = [pytest.mark.slow, pytest.mark.alone]
BATON = (sys.executable, "-c", "from baton.cli.app import app; app()", "tune")
SECONDS = 900  # for a study
RATE, EPOCHS = "finetune.learning_rate", "finetune.epochs"
TUNE: dict[str, Any] = {
    "ranges": {
        RATE: {"kind": "float", "low": 1e-5, "high": 1e-2, "log": True, "step": None},
        EPOCHS: {"kind": "int", "low": 1, "high": 3, "log": False, "step": 1},
    },
    "metric": "loss",  # which says more than shares of a few rows
    "trials": 6,
    "minutes": None,
    "generation": 3,
    "random": 3,
    "seed": 0,
    "prune": {"keep": 0.5, "trials": 2, "validations": 0},
    "finalists": 1,
    "seeds": [1],
}
TIMES = ("seconds",)


def made(folder: Path, tokenized: Path) -> Project:
    """A copy of the tiny project, with a study in params.yaml."""
    shutil.copytree(tokenized, folder)
    path = folder / "params.yaml"
    raw = params.read_raw(path)
    raw["tune"], raw["finetune"]["strategy"] = TUNE, {"kind": "full"}
    YAML(typ="safe", pure=True).dump(raw, path)
    return Project(folder)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, tokenized: Path) -> Iterator[Project]:
    """A study that one worker did without an interruption."""
    project = made(tmp_path_factory.mktemp("alone") / "project", tokenized)
    done = project.run(*BATON)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "test is not looked at" in done.stdout and "s a trial" in done.stdout
    yield project
    shutil.rmtree(project.folder)


def started(project: Project) -> "subprocess.Popen[bytes]":
    own = {
        "BATON_PYTHON": sys.executable,
        "PYTHONPATH": str(project.folder / "src"),
        "DVC_SITE_CACHE_DIR": str(project.folder / ".baton/dvc"),
    }
    log = project.folder / ".baton/worker.log"
    log.parent.mkdir(exist_ok=True)
    with log.open("ab") as file:
        return subprocess.Popen(
            BATON, cwd=project.folder, env=os.environ | own, stdout=file, stderr=subprocess.STDOUT
        )


def trials(project: Project) -> list[dict[str, str]]:
    with (project.folder / "reports/tune/trials.csv").open(encoding="utf-8") as file:
        return [{key: cell for key, cell in row.items() if key not in TIMES} for row in csv.DictReader(file)]


def experiments(project: Project) -> list[str]:
    return project.run("git", "for-each-ref", "--format=%(refname:lstrip=4)", "refs/exps").stdout.split()


def test_killed_twice_two_workers_do_the_same_study(alone: Project, tmp_path: Path, tokenized: Path) -> None:
    project = made(tmp_path / "project", tokenized)
    workers = [started(project), started(project)]
    deadline, kills = time.monotonic() + SECONDS, 0
    while any(own.poll() is None for own in workers):
        assert time.monotonic() < deadline, (project.folder / ".baton/worker.log").read_text()
        logs = sorted(project.folder.glob(".baton/tune/points/*"), key=lambda path: path.stat().st_mtime)
        if kills < 2 and len(logs) > 2 * kills + 1:  # in training, of another trial each time
            workers[kills].send_signal(signal.SIGKILL)
            workers[kills].wait()
            workers[kills] = started(project)
            kills += 1
        time.sleep(0.05)
    said = (project.folder / ".baton/worker.log").read_text()
    assert [own.returncode for own in workers] == [0, 0] and kills == 2, said
    while left := fake_project.working(project.folder):
        assert time.monotonic() < deadline, [item.cmdline() for item in left]
        time.sleep(0.05)
    found = trials(project)
    assert [row["trial"] for row in found if not row["seed"]] == list(map(str, range(6)))
    assert found == trials(alone), said
    assert sorted(experiments(project)) == sorted(set(experiments(project))) == sorted(experiments(alone))


def test_the_record(alone: Project) -> None:
    found = trials(alone)
    complete = [row["experiment"] for row in found if row["state"] == "complete"]
    assert sorted(experiments(alone)) == sorted(complete), "each complete trial is a DVC experiment"
    assert {"history.png", "parallel_coordinates.png", "importance.png"} <= {
        path.name for path in (alone.folder / "reports/tune").iterdir()
    }
    assert not list(alone.folder.glob("models/*")) and not (alone.folder / "reports/metrics.json").exists()
    weights = [path for path in alone.folder.glob(".baton/checkpoints/finetune/*/*/*") if path.is_dir()]
    assert not weights, "checkpoints of stopped trials are gone"
    said = alone.run(*BATON, "--status").stdout
    assert "6 trials" in said and "next: `baton tune --apply`" in said


def test_runs_in_mlflow(alone: Project, quiet_mlflow: None) -> None:
    import mlflow

    store = f"sqlite:///{alone.folder}/mlflow.db"
    client = mlflow.MlflowClient(store)
    (experiment,) = [own.experiment_id for own in client.search_experiments() if own.name != "Default"]
    runs = {run.data.tags["mlflow.runName"]: run for run in client.search_runs([experiment])}
    (parent,) = [run for name, run in runs.items() if name.startswith("tune ")]
    assert parent.info.status == "FINISHED" and len(runs) == 1 + len(trials(alone))
    first = runs["trial 000"]
    assert first.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert set(first.data.params) == {RATE, EPOCHS}
    assert client.get_metric_history(first.info.run_id, "val_accuracy")
    assert not client.search_logged_models([experiment]), "models of trials are not logged"
    assert {file.path for file in client.list_artifacts(parent.info.run_id, "tune")} >= {"tune/trials.csv"}


def test_the_best_is_applied(alone: Project) -> None:
    path = alone.folder / "params.yaml"
    said = alone.run(*BATON, "--apply")
    assert said.returncode == 0, said.stdout + said.stderr
    raw = params.read_raw(path)
    rows = {row["trial"]: row for row in trials(alone) if not row["seed"]}
    number = said.stdout.split("trial ")[1].split(":")[0]
    assert (raw["finetune"]["learning_rate"], raw["finetune"]["epochs"]) == (
        float(rows[number][RATE]),
        int(rows[number][EPOCHS]),
    )
    assert raw["finetune"]["seeds"] == [0]
    assert "next: `baton tune --apply`" in alone.run(*BATON, "--status").stdout, "the study is still the same"
