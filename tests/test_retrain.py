"""The whole story: first champion, new data, retraining in fresh clones, verdicts, trace, rollback.

It uses real git with a bare remote, a DVC remote and a real MLflow server. Each job is a fresh clone that is
deleted afterwards, as in CI.
"""

import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from baton import params
from tests.test_pipeline import ROOT, Project, make_project
from tests.tracking.test_server import Server

pytestmark = pytest.mark.slow
BATON = (sys.executable, "-c", "from baton.cli.app import app; app()")
WHO = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main")


class World:
    """The remotes and a developer's checkout."""

    def __init__(self, folder: Path, server: Server, start: Callable[["World"], None]) -> None:
        """Set up; `start` writes the project's first params and rows, and `rest`, the later rows."""
        self.folder, self.server, self.count = folder, server, 0
        self.rest: list[list[str]] = []
        self.developer = make_project(folder / "developer")
        start(self)
        self.developer.edit(self.settings)
        self.git("init", "--quiet", "--bare", str(folder / "origin.git"))
        self.git("branch", "-M", "main")
        self.git("remote", "add", "origin", str(folder / "origin.git"))
        (folder / "storage").mkdir()
        self.developer.dvc("remote", "add", "--default", "storage", str(folder / "storage"))
        self.publish("remotes")
        self.git("push", "--quiet", "--set-upstream", "origin", "main")

    def settings(self, raw: dict[str, Any]) -> None:
        raw["tracking"]["uri"] = self.server.uri
        raw["promotion"] |= {
            "name": "story",
            "first_minimum": 0.0,
            "class_floor": None,
            "permanent_floor": None,
            "max_calibration_error": None,
            "max_latency_ratio": None,
        }
        raw["promotion"] |= {"latency_samples": 2, "test": "data/clean/test.parquet"}
        raw["source"] = {
            "kind": "local",
            "files": {"train": "inbox/train.csv", "test": "inbox/test.csv"},
            "licence": "none",
        }

    def write(self, name: str, rows: list[list[str]]) -> None:
        with (self.developer.folder / f"inbox/{name}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([["text", "label"], *rows])

    def read(self, name: str) -> list[list[str]]:
        with (self.developer.folder / f"inbox/{name}.csv").open(encoding="utf-8", newline="") as file:
            return list(csv.reader(file))[1:]

    def git(self, *words: str, folder: Path | None = None) -> str:
        done = subprocess.run(
            ["git", *WHO, *words],
            cwd=folder or self.developer.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def publish(self, message: str) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)

    def push(self, message: str) -> None:
        self.git("pull", "--quiet", "--rebase", "--autostash")
        self.publish(message)
        self.git("push", "--quiet")

    def clone(self) -> Project:
        self.count += 1
        folder = self.folder / f"job{self.count}"
        self.git("clone", "--quiet", str(self.folder / "origin.git"), str(folder))
        return Project(folder)

    def job(self, *options: str, code: int = 0) -> str:
        """Run `baton retrain` in a fresh clone."""
        project = self.clone()
        result = project.run(*BATON, "retrain", *options)
        assert result.returncode == code, result.stdout[-3000:] + result.stderr[-3000:]
        shutil.rmtree(project.folder)
        return result.stdout

    def registry(self) -> dict[str, str]:
        from mlflow import MlflowClient

        found = MlflowClient(self.server.uri, registry_uri=self.server.uri)
        aliases = found.get_registered_model("story").aliases
        return aliases | {"versions": str(len(found.search_model_versions("name = 'story'")))}


def quick(world: World) -> None:
    """Set up the recipe `quick` with its rows as the user's own files: 320 at first, and 640 later."""
    developer = world.developer
    shutil.rmtree(developer.folder / "inbox/base")
    shutil.copy(ROOT / "recipes/quick.yaml", developer.folder / "params.yaml")
    developer.dvc("repro", "download")
    for name, count in (("train", 960), ("test", 400)):
        text = (developer.folder / f"data/raw/{name}.tab").read_text(encoding="utf-8")
        rows = [line.split("\t")[::-1] for line in text.splitlines()[3:]]
        random.Random(0).shuffle(rows)
        world.write(name, rows[:count])
    world.rest = world.read("train")[320:]
    world.write("train", world.read("train")[:320])
    delimited = {
        "kind": "delimited",
        "encoding": "auto",
        "escape": None,
        "delimiter": ",",
        "quote": '"',
        "skip_lines": 0,
        "columns": None,
    }
    developer.edit(
        lambda raw: raw["preprocess"].update(format=delimited, limit={"train": None, "test": None})
    )
    developer.edit(lambda raw: raw["retrain"].update(drift=None))
    developer.edit(
        lambda raw: raw["finetune"].update(learning_rate=1e-5) or raw["distill"].update(learning_rate=1e-5)
    )


def small(world: World) -> None:
    """Set up the tiny model and some docstrings."""
    random.Random(0).shuffle(body := world.read("data"))
    world.write("test", body[:80])
    world.write("train", body[80:180])
    world.rest = body[180:]
    (world.developer.folder / "inbox/data.csv").unlink()
    world.developer.edit(strong)


def rates(teacher: float, student: float, epochs: int = 1) -> Callable[[dict[str, Any]], None]:
    def change(raw: dict[str, Any]) -> None:
        raw["finetune"] |= {"epochs": epochs, "learning_rate": teacher}
        raw["distill"] |= {"epochs": epochs, "learning_rate": student}

    return change


weak, recipe, strong = rates(1e-7, 1e-7), rates(3e-4, 5e-4), rates(3e-3, 3e-3, epochs=12)


@pytest.fixture
def server(tmp_path: Path, database: Path) -> Iterator[Server]:
    server = Server(tmp_path, database)
    server.start()
    yield server
    server.kill()


@pytest.mark.usefixtures("quiet_mlflow")
def test_the_story(tmp_path: Path, server: Server) -> None:
    import mlflow

    world = World(tmp_path, server, quick)
    mlflow.set_tracking_uri(world.server.uri)
    mlflow.set_registry_uri(world.server.uri)
    told = world.job("--mode", "enabled")
    assert "there is no champion" in told and world.registry() == {"champion": "1", "versions": "1"}
    first = mlflow.pyfunc.load_model("models:/story@champion").metadata.model_uuid
    world.git("pull", "--quiet")
    assert "version 1 passed" in world.git("log", "-1", "--format=%s")

    world.write("train", [*world.read("train"), *world.rest])  # new data, and a longer training run
    world.developer.edit(recipe)
    world.push("new data")
    told = world.job("--mode", "enabled")
    assert "met, gain" in told and "NOT met" not in told
    assert world.registry() == {"champion": "2", "versions": "2"}
    assert "learning_rate" in told and "student.accuracy" in told, "differences of params and figures"
    assert "dvc_plots/index.html" in told and f"{world.server.uri}/#/models/story/versions/2" in told
    assert mlflow.pyfunc.load_model("models:/story@champion").metadata.model_uuid != first

    runs = count_runs(world)
    assert "nothing to decide" in world.job("--mode", "enabled"), "again: all from the run-cache"
    assert world.registry() == {"champion": "2", "versions": "2"}
    assert count_runs(world) == runs, "no phantom runs"

    world.git("pull", "--quiet")
    world.developer.edit(weak)
    world.push("worse")
    assert "NOT met, gain" in world.job("--mode", "enabled", code=3)
    assert world.registry()["champion"] == "2"

    world.git("pull", "--quiet")
    world.developer.edit(recipe)
    world.developer.edit(lambda raw: raw["distill"].update(alpha=0.301))
    world.push("a tie")
    assert "is not distinguishable from the champion" in world.job("--mode", "enabled", code=3)
    assert world.registry()["champion"] == "2"

    project = world.clone()
    project.dvc("pull", "--quiet")
    traced = project.run(*BATON, "trace", "models:/story@champion", "--json")
    assert traced.returncode == 0, traced.stderr
    chain = json.loads(traced.stdout)
    text = json.dumps(chain)
    commit = world.git("log", "--format=%H", "--grep", "new data", "-1")
    assert commit in text and "inbox/train.csv" in text and "data/raw" in text
    # The tie was trained after it, and its model is not fetched.
    expected = ("dvc.lock of the working tree has changed since", "DVC's cache here lacks")
    assert all(text.startswith(expected) for text in chain["breaks"]), chain["breaks"]
    for pattern in ("new data", "version 2"):  # the trained commit, and the one that the job made of it
        back = project.run(
            *BATON, "trace", world.git("log", "--format=%H", "--grep", pattern, "-1"), "--json"
        )
        assert '"story 2"' in back.stdout, back.stdout + back.stderr
    rolled = project.run(*BATON, "promote", "--to", "1")
    assert rolled.returncode == 0, rolled.stderr
    assert mlflow.pyfunc.load_model("models:/story@champion").metadata.model_uuid == first


def count_runs(world: World) -> int:
    from mlflow import MlflowClient

    found = MlflowClient(world.server.uri, world.server.uri)
    return len(
        found.search_runs([item.experiment_id for item in found.search_experiments()], max_results=1000)
    )


@pytest.mark.usefixtures("quiet_mlflow")
def test_killed_at_random_it_ends_in_the_same_state(tmp_path: Path, server: Server) -> None:
    world = World(tmp_path, server, small)
    project, random_number = world.clone(), random.Random(4)
    own = {"BATON_PYTHON": sys.executable, "PYTHONPATH": str(project.folder / "src")}
    command = [*BATON, "retrain", "--mode", "enabled"]
    for _ in range(5):
        with subprocess.Popen(
            command, cwd=project.folder, env={**os.environ, **own}, start_new_session=True
        ) as process:
            time.sleep(random_number.uniform(5, 60))
            process.send_signal(random_number.choice([signal.SIGTERM, signal.SIGKILL]))
    result = project.run(*command)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    assert world.registry() == {"champion": "1", "versions": "1"}
    assert world.git("log", "--format=%s", "origin/main", "-1", folder=project.folder).startswith(
        "Retrain: version 1"
    )
    assert world.git("rev-list", "--count", "origin/main", folder=project.folder) == "3"


@pytest.mark.usefixtures("quiet_mlflow")
def test_the_job_after_a_killed_one_goes_on_from_its_checkpoint(tmp_path: Path, server: Server) -> None:
    """Each in its own clone; the training run stays one run in the store."""

    def often(raw: dict[str, Any]) -> None:
        raw["retrain"]["checkpoint_minutes"] = 0.005
        raw["runtime"]["checkpoint_seconds"] = 0.2
        raw["finetune"]["epochs"] = 60

    world = World(tmp_path, server, small)
    world.developer.edit(often)
    world.push("checkpoints")
    project, stored = world.clone(), world.folder / "storage/baton/checkpoints/finetune"
    own = {"BATON_PYTHON": sys.executable, "PYTHONPATH": str(project.folder / "src")}
    with subprocess.Popen(
        [*BATON, "retrain"], cwd=project.folder, env={**os.environ, **own}, start_new_session=True
    ) as process:
        limit = time.monotonic() + 300
        while not list(stored.rglob("manifest.json")) and time.monotonic() < limit:
            time.sleep(0.05)
        process.kill()
    shutil.rmtree(project.folder, ignore_errors=True)  # its stage is only about to end
    result = world.clone().run(*BATON, "retrain")
    told = " ".join((result.stdout + result.stderr).split())
    assert result.returncode == 0, told[-3000:]
    assert "is from an earlier job" in told and "resumed after step" in told, told
    assert not list((world.folder / "storage/baton").rglob("manifest.json")), "done"
    from mlflow import MlflowClient

    client = MlflowClient(world.server.uri, world.server.uri)
    found = client.search_runs([item.experiment_id for item in client.search_experiments()])
    assert sum(run.data.tags.get("mlflow.runName", "").startswith("finetune") for run in found) == 1


@pytest.mark.usefixtures("quiet_mlflow")
def test_when_it_trains_and_from_what(tmp_path: Path, server: Server) -> None:
    def retrain(raw: dict[str, Any]) -> None:
        raw["retrain"] = {
            "drift": {"changed": 0.2, "labels": 1.0, "lengths": 1.0, "unknown": 1.0},
            "warm_start": True,
            "checkpoint_minutes": None,
        }
        raw["promotion"]["rule"] = {"kind": "non_inferiority", "margin": 0.5}

    world = World(tmp_path, server, small)
    world.developer.edit(retrain)
    world.push("when")
    assert "there is no champion" in world.job("--mode", "enabled")
    world.write("train", [*world.read("train"), *world.rest[:5]])
    world.push("a little more")
    told = world.job("--mode", "enabled")
    assert (
        "Not trained: 5 rows are new and 0 gone since version 1" in told
        and world.registry()["versions"] == "1"
    )

    world.write("train", [*world.read("train"), *world.rest[5:60]])
    world.push("much more")
    told = world.job("--mode", "enabled")
    assert "60 rows are new and 0 gone since version 1, which is beyond the limits" in told
    assert world.registry() == {"champion": "2", "versions": "2"}
    world.git("pull", "--quiet")
    base = params.read(world.developer.folder / "params.yaml").base
    assert isinstance(base, params.RegisteredBase) and (base.name, base.version) == ("story", 1)

    shutil.rmtree(world.folder / "storage")
    refused = world.clone().run(*BATON, "retrain", "--mode", "enabled")
    assert refused.returncode == 1 and "storage does not exist (mount it" in refused.stderr
    (world.folder / "storage").mkdir()
    told = world.job("--mode", "enabled")
    assert "they are rebuilt" in told and "Not trained: 0 rows are new" in told


@pytest.mark.usefixtures("quiet_mlflow")
def test_a_rehearsal_leaves_nothing_and_a_protected_branch_gets_a_pull_request(
    tmp_path: Path, server: Server
) -> None:
    """Without a push nothing reaches the DVC remote, where a run-cache entry would be restored by others."""
    world = World(tmp_path, server, small)
    stored = world.folder / "storage"
    before = sorted(stored.rglob("*"))
    project = world.clone()
    assert project.run(*BATON, "retrain", "--no-push", "--mode", "enabled").returncode == 1
    text = (project.folder / "params.yaml").read_text()
    result = project.run(*BATON, "retrain", "--no-push", "-S", "finetune.log_every=3")
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-2000:]
    assert sorted(stored.rglob("*")) == before
    assert (project.folder / "params.yaml").read_text() == text and world.registry() == {"versions": "1"}
    shutil.rmtree(project.folder)

    hook = world.folder / "origin.git/hooks/pre-receive"
    hook.write_text(
        "#!/bin/sh\nwhile read -r old new name; do [ $name != refs/heads/main ] || exit 1; done\n"
    )
    hook.chmod(0o755)
    project = world.clone()
    world.git("checkout", "--quiet", "--detach", folder=project.folder)
    told = project.run(*BATON, "retrain", "--mode", "enabled")
    assert told.returncode == 1 and "HEAD is detached, so give --branch" in told.stderr
    told = project.run(*BATON, "retrain", "--mode", "enabled", "--branch", "main", "--pull-request")
    assert told.returncode == 0, told.stdout[-2000:] + told.stderr[-2000:]
    assert "when its pull request is merged" in told.stdout and "champion" not in world.registry()
    hook.unlink()
    proposed = world.git("branch", "--list", "retrain/*", folder=world.folder / "origin.git").strip()
    world.git("fetch", "--quiet", "origin")
    world.git("merge", "--quiet", "--no-ff", "-m", "Merge", f"origin/{proposed}")
    world.git("push", "--quiet")
    world.job("--mode", "enabled")
    version = world.registry()["champion"]
    assert proposed == f"retrain/story-version-{version}"
    assert json.loads((world.developer.folder / "promotions.jsonl").read_text())["version"] == version
    assert world.git("log", "--format=%s", "-1", "origin/main") == "Merge", "nothing else was to be committed"


def test_what_is_missing_is_named_at_once(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project")
    result = project.run(*BATON, "retrain")
    assert result.returncode == 1
    assert all(word in result.stderr for word in ("an MLflow server", "a DVC remote", "a git remote"))
    before = (project.folder / "params.yaml").read_bytes()
    for override, told in (
        ("finetune.epoch=3", "finetune.epoch"),
        ("finetune.epochs", "an override cannot be applied"),
        ("finetune.epochs=many", "finetune.epochs"),
        ("finetune.epochs=${oc.env:HOME}", "taken literally"),
        ("promotion.first_minimum=0", "rules of the gate"),
    ):
        result = project.run(*BATON, "retrain", "-S", override)
        assert result.returncode == 1 and told in result.stderr, result.stderr
        assert (project.folder / "params.yaml").read_bytes() == before
    (project.folder / "stages/download.py").write_text("")
    assert "stages/download.py is not committed" in project.run(*BATON, "retrain").stderr
