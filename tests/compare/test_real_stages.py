"""`baton compare` with the real stages, a tiny random BERT on docstrings; killed in training, it goes on."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.compare import fake_project
from tests.test_pipeline import Project

pytestmark = [pytest.mark.slow, pytest.mark.alone]
STRATEGIES = """
stage: finetune
labels: preprocess.shots
strategies:
  full: {finetune: {strategy: {kind: full}, learning_rate: 1e-3}}
  probe: {finetune: {strategy: {kind: probe}, head: {kind: linear, pooling: cls, dropout: 0.1}}}
  long: {finetune: {strategy: {kind: full}, epochs: 60, dropout: 0.1}, runtime.checkpoint_seconds: 0.001}
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, tokenized: Path) -> Iterator[Project]:
    """The tiny project up to its arrays; the tests build on each other."""
    made = Project(tmp_path_factory.mktemp("compared") / "project")
    shutil.copytree(tokenized, made.folder)
    (made.folder / "strategies.yaml").write_text(STRATEGIES)
    yield made
    shutil.rmtree(made.folder)


def compare(project: Project, *arguments: str) -> str:
    done = project.run(*fake_project.BATON, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_two_strategies_two_seeds_two_numbers_of_labels(project: Project) -> None:
    before = (project.digests(), project.run("git", "status", "--porcelain").stdout)
    asked = ("--strategies", "full,probe", "--labels", "10,all", "--seeds", "0,1")
    output = compare(project, *asked)
    assert (
        project.digests().items() >= before[0].items(),
        project.run("git", "status", "--porcelain").stdout,
    ) == (
        True,
        before[1],
    )
    assert "[8/8] probe, all labels, seed 1" in output and "TF-IDF" in output
    assert not list(project.folder.glob("mlflow.db")), "nothing was recorded"
    with (project.folder / "reports/compare/trials.csv").open(encoding="utf-8") as file:
        trials = {(row["name"], row["labels"], row["seed"]): row for row in csv.DictReader(file)}
    assert len(trials) == 8 + 8
    assert {row["labels_used"] for row in trials.values() if row["labels"] == "10"} == {"10"}
    assert all(float(row["seconds"]) > 0 for row in trials.values())
    trained = {
        row["name"]: int(row["trained_parameters"]) for row in trials.values() if row["trained_parameters"]
    }
    assert trained["full"] > trained["probe"]
    shown = json.loads(project.dvc("exp", "show", "--json"))
    assert len(shown[1]["experiments"]) == 8
    assert "8 experiments, 8 are done" in compare(project, *asked)
    name = next(path.stem for path in project.folder.glob(".baton/compare/results/probe-all-seed1-*.json"))
    project.run(sys.executable, "-m", "dvc", "exp", "apply", name)
    assert project.repro("finetune") == [], "an applied experiment is complete"
    assert "pooling: cls" in (project.folder / "params.yaml").read_text()


def test_killed_in_training_it_resumes(project: Project) -> None:
    asked = ("--strategies", "long", "--labels", "10", "--seeds", "0", "--no-baseline")
    own = {
        "BATON_PYTHON": sys.executable,
        "PYTHONPATH": str(project.folder / "src"),
        "DVC_SITE_CACHE_DIR": str(project.folder / ".baton/dvc"),
    }
    command = [*fake_project.BATON, *asked]
    with subprocess.Popen(
        command, cwd=project.folder, env=os.environ | own, stdout=subprocess.DEVNULL
    ) as process:
        deadline = time.monotonic() + 240
        while not list(project.folder.glob(".baton/checkpoints/finetune/*/teacher-0/*/state.json")):
            assert process.poll() is None and time.monotonic() < deadline, "training makes no progress"
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    while left := fake_project.working(project.folder):
        assert time.monotonic() < deadline, [item.cmdline() for item in left]
        time.sleep(0.05)
    compare(project, *asked)
    (log,) = project.folder.glob(".baton/compare/logs/long-10-seed0-*.log")
    assert "resumed after step" in log.read_text(), "the second attempt goes on from a checkpoint"
