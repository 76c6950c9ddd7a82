"""The whole pipeline through real `dvc repro`, in a temporary project with its own git, DVC cache and store.

The data are the docstrings of four packages of Python's standard library (real text, labelled by package);
the base model is a tiny random BERT. The tests in this file build on each other, in this order; each leaves
the project as the first `dvc repro` made it.
"""

import csv
import hashlib
import importlib
import inspect
import json
import os
import pkgutil
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from ruamel.yaml import YAML
from typer.testing import CliRunner

from baton import params, storage
from baton.cli import app
from tests import tiny

ROOT = Path(__file__).parent.parent
STAGES = ["download", "preprocess", "tokenize", "finetune", "distill", "evaluate", "export"]
PACKAGES = ("asyncio", "email", "logging", "xml")
BATON = (sys.executable, "-c", "from baton.cli.app import app; app()")
TIMED = {
    "reports/report.html",
    "reports/timings.json",
    "reports/speed/speed_accuracy.png",
}  # the only outputs that may differ in a rerun
OUTPUTS = ("data", "models", "curves", "metrics", "reports")


@dataclass(frozen=True)
class Project:
    """A temporary project; commands run in its root."""

    folder: Path

    def environment(self) -> dict[str, str]:
        own = {
            "BATON_PYTHON": sys.executable,
            "PYTHONPATH": str(self.folder / "src"),
            "DVC_SITE_CACHE_DIR": str(self.folder / ".baton/dvc"),
        }
        return {**os.environ, **own, "COLUMNS": "200"}

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=self.folder, env=self.environment(), capture_output=True, text=True, check=False
        )

    def dvc(self, *arguments: str) -> str:
        result = self.run(sys.executable, "-m", "dvc", *arguments)
        assert result.returncode == 0, f"dvc {arguments}\n{result.stdout}\n{result.stderr}"
        return result.stdout

    def repro(self, *arguments: str) -> list[str]:
        """Run `dvc repro`; return the stages that ran."""
        output = self.dvc("repro", *arguments)
        return [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage '")]

    def served(self, name: str) -> Any:
        """Load the newest logged model of this name as its users do; run it in the project's folder."""
        import mlflow

        from baton import tracking

        tracking.prepare()
        store = f"sqlite:///{self.folder}/mlflow.db"
        client = mlflow.MlflowClient(store)
        experiment = client.get_experiment_by_name(params.read().tracking.experiment)
        found = client.search_logged_models([experiment.experiment_id])
        model = next(item for item in found if item.name == name)
        mlflow.set_tracking_uri(store)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return mlflow.pyfunc.load_model(f"models:/{model.model_id}")

    def edit(self, change: Callable[[dict[str, Any]], object]) -> None:
        path = self.folder / "params.yaml"
        raw = params.read_raw(path)
        change(raw)
        YAML(typ="safe", pure=True).dump(raw, path)

    def digests(self) -> dict[str, str]:
        files = [
            path
            for name in OUTPUTS
            for path in (self.folder / name).rglob("*")
            if path.is_file() and path.name != ".gitignore"
        ]
        return {
            path.relative_to(self.folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in files
        }


def check_rerun(project: Project) -> None:
    """Check that nothing runs again, and that a forced rerun gives the same bytes."""
    assert project.repro() == []
    before = project.digests()
    assert project.repro("--force") == STAGES
    after = project.digests()
    assert {name for name in before if before[name] != after.get(name)} <= TIMED


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    made = make_project(tmp_path_factory.mktemp("pipeline") / "project")
    yield made
    shutil.rmtree(made.folder)


def copy_code(folder: Path) -> None:
    """Copy this checkout's code and the files that a project needs besides params and data."""
    for name in ("src", "stages"):
        shutil.copytree(
            ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
        )
    for name in (
        "dvc.yaml",
        "requirements.lock",
        "requirements-export.lock",
        ".gitignore",
        ".dvcignore",
        ".dvc/config",
        ".dvc/.gitignore",
        "inbox/README.md",
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, folder / name)


def make_project(folder: Path) -> Project:
    """Copy this checkout's code, add the small table and the tiny base model, and commit."""
    copy_code(folder)
    write_docstrings(folder / "inbox/data.csv")
    tiny.write_base(folder / "inbox/base")
    shutil.copy(ROOT / "recipes/csv.yaml", folder / "params.yaml")
    made = Project(folder)
    made.edit(small)
    for command in ("init", "add ."):
        assert made.run("git", *command.split()).returncode == 0
    assert (
        made.run("git", "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-m", "x").returncode
        == 0
    )
    return made


def small(raw: dict[str, Any]) -> None:
    raw["base"] = {"kind": "local", "folder": "inbox/base", "licence": "none"}
    raw["tokenize"] |= {"max_length": 32, "truncation": {"kind": "windows", "most": 3, "overlap": 4}}
    for section in ("finetune", "distill"):
        raw[section] |= {
            "epochs": 1,
            "min_steps": 0,
            "batch_size": 16,
            "evaluations_per_epoch": 1,
            "log_every": 2,
        }
    raw["finetune"]["strategy"] = {"kind": "full"}
    raw["distill"]["student"]["layers"] = [0]
    raw["evaluate"]["bootstrap"]["resamples"] = 100
    raw["evaluate"]["speed"] = {
        "repeats": 1,
        "precision": 0.5,
        "max_seconds": 1.0,
        "batch_size": 8,
        "samples": 8,
        "latency_samples": 2,
    }
    raw["runtime"]["threads"] = 1


def write_docstrings(path: Path, packages: Sequence[str] = PACKAGES) -> None:
    """Write docstrings of public classes and functions, at most 80 per package, labelled by package."""
    rows = []
    for package in packages:
        found: dict[str, str] = {}
        for name in sorted(submodules(package)):
            module = importlib.import_module(name)
            for _, member in inspect.getmembers(
                module, lambda item: inspect.isclass(item) or inspect.isfunction(item)
            ):
                if member.__module__ == name and member.__doc__ and not member.__qualname__.startswith("_"):
                    found[f"{name}.{member.__qualname__}"] = inspect.cleandoc(member.__doc__)
        rows += [(text, package) for _, text in sorted(found.items())[:80]]
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label"), *rows])


def submodules(package: str) -> list[str]:
    path = importlib.import_module(package).__path__
    names = [module.name for module in pkgutil.walk_packages(path, f"{package}.")]
    return [name for name in names if "windows" not in name and not name.endswith("__main__")]


def test_all_seven_stages_run(project: Project) -> None:
    assert project.repro() == STAGES
    rows = {
        name: (project.folder / f"data/predictions/{name}/test.parquet").stat().st_size
        for name in ("teacher", "student", "control")
    }
    assert all(rows.values())
    metrics = storage.read_json(project.folder / "reports/metrics.json")
    assert metrics["test"]["classes"] == len(PACKAGES)
    assert {"teacher", "student", "control", "retention", "comparison"} <= set(metrics)
    assert storage.read_json(project.folder / "metrics/finetune.json")["teacher"]["val_accuracy"] > 0
    ignored = project.run("git", "status", "--porcelain", "--untracked-files=all").stdout.split()[1::2]
    assert sorted(ignored) == [
        "dvc.lock",
        "metrics/distill.json",
        "metrics/export.json",
        "metrics/finetune.json",
        "reports/metrics.json",
    ]  # tracked by git
    assert storage.read_json(project.folder / "metrics/export.json") == {}, "params say export: null"
    assert not any(any((project.folder / name).iterdir()) for name in ("models/export", "reports/export"))


def test_mlflow_holds_the_runs(project: Project) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{project.folder}/mlflow.db")
    experiment = client.get_experiment_by_name("csv")
    runs = client.search_runs([experiment.experiment_id])
    assert {run.info.status for run in runs} == {"FINISHED"}
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    children = {run.info.run_name.split()[0]: run for run in runs if run is not parent}
    assert set(children) == {"finetune", "distill", "evaluate"}
    assert {run.data.tags["mlflow.parentRunId"] for run in children.values()} == {parent.info.run_id}
    assert parent.data.params["finetune.head.kind"] == "linear"
    assert parent.data.metrics["student/test_accuracy"] == pytest.approx(
        storage.read_json(project.folder / "reports/metrics.json")["student"]["accuracy"], abs=1e-5
    )
    assert len(client.get_metric_history(children["finetune"].info.run_id, "teacher/loss")) > 2
    models = client.search_logged_models([experiment.experiment_id])
    assert sorted(model.name for model in models) == ["student", "teacher"]


@pytest.mark.usefixtures("quiet_mlflow")
def test_the_logged_model_answers_raw_texts_as_the_stage_did_their_windows(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient, pyfunc

    from baton.batches import array_splits
    from baton.models import model_folder
    from baton.predict import predict

    monkeypatch.chdir(project.folder)
    test = array_splits.open_splits(Path("data/arrays"))["test"]
    assert test.windows.max() == 3
    client, texts = (
        MlflowClient(f"sqlite:///{project.folder}/mlflow.db"),
        pq.read_table("data/clean/test.parquet")["text"].to_pylist(),
    )
    logged = client.search_logged_models([client.get_experiment_by_name("csv").experiment_id])
    for name in ("teacher", "student"):
        (location,) = [model.artifact_location for model in logged if model.name == name]
        answers = pyfunc.load_model(location.removeprefix("file://")).predict(texts)
        model, info = model_folder.load(Path("models", name), "matmul")
        own = torch.from_numpy(
            predict(model, test, tiny.machine(), 16)
        ).double()  # in fp32, like the logged model
        expected = (own / info.fitted["temperature"]).softmax(-1).numpy()
        np.testing.assert_allclose(answers.drop(columns="label").to_numpy(), expected, atol=1e-6)
        assert np.ptp(expected[:, 0]) > 1e-4, "otherwise any answer would pass"


@pytest.mark.usefixtures("quiet_mlflow")
def test_trace_leads_from_a_file_to_its_data_and_on_to_its_run(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.folder / "models")  # a file name is resolved in the current folder

    def traced(*words: str, code: int = 0) -> str:
        os.chdir(project.folder / "models")
        result = CliRunner().invoke(app.app, ["trace", *words])
        assert result.exit_code == code, result.output
        return result.output

    chain = json.loads(traced("student/model.safetensors", "--json"))
    assert chain["breaks"] == []
    [distill] = chain["made_of"]["children"]
    assert distill["name"] == "distill" and distill["facts"]["params"]["distill.student.layers.0"] == 0
    assert "src/baton/distill" in distill["facts"]["code"]
    origins = [file["facts"] for file in nodes(chain["made_of"], "file") if "origin" in file["facts"]]
    assert {"inbox/data.csv"} <= {fact["origin"] for fact in origins} and all(
        len(fact["sha256"]) == 64 for fact in origins
    )
    assert {node["name"] for item in chain["made_from_it"] for node in nodes(item, "model")} == {"student"}
    run = distill["facts"]["run"]
    back = json.loads(traced(run, "--json"))
    assert {node["name"] for node in nodes(back["made_of"], "stage")} >= {
        "distill",
        "finetune",
        "tokenize",
        "preprocess",
        "download",
    }
    assert back["breaks"] == []
    source = json.loads(traced("../inbox/data.csv", "--json"))
    assert source["breaks"] == [] and {"student", "teacher"} <= {
        node["name"] for item in source["made_from_it"] for node in nodes(item, "model")
    }
    assert "nothing is known about nothing" in traced("nothing", code=1)

    params_before = (project.folder / "params.yaml").read_text()
    manifest = project.folder / "data/raw/manifest.json"
    kept = manifest.read_bytes()
    try:
        project.edit(lambda raw: raw["distill"].update(temperature=7.5))
        manifest.unlink()
        shown = " ".join(traced("student").split())
        assert "distill (" in shown and "params" in shown
        assert "broken: since distill ran, deps no longer match dvc.lock: params.yaml (distill)" in shown
        assert "broken: since download ran, outs no longer match dvc.lock: data/raw modified" in shown
    finally:
        (project.folder / "params.yaml").write_text(params_before)
        manifest.write_bytes(kept)


def nodes(node: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    found = [node] if node["kind"] == kind else []
    return found + [item for child in node["children"] for item in nodes(child, kind)]


def test_a_second_repro_runs_nothing(project: Project) -> None:
    before = project.digests()
    assert project.repro() == []
    assert project.digests() == before


def test_dvc_shows_metrics_and_plots(project: Project) -> None:
    shown = project.dvc("metrics", "show", "--json")
    assert all(
        name in shown for name in ("reports/metrics.json", "metrics/finetune.json", "metrics/distill.json")
    )
    project.dvc("plots", "show", "--out", "plots")
    assert (project.folder / "plots/index.html").stat().st_size > 10_000
    shutil.rmtree(project.folder / "plots")


def test_only_evaluate_reruns_after_its_edit(project: Project) -> None:
    before = project.digests()
    project.edit(lambda raw: raw["evaluate"].update(calibration_bins=7))
    assert project.repro() == ["evaluate"]
    assert project.digests() != before
    project.edit(lambda raw: raw["evaluate"].update(calibration_bins=15))
    assert project.repro() == []
    assert project.digests() == before


def test_a_b_a_is_a_run_cache_hit(project: Project) -> None:
    before = project.digests()
    project.edit(lambda raw: raw["distill"].update(seeds=[1]))
    assert project.repro() == ["distill", "evaluate", "export"]
    other = project.digests()
    for name in (
        "models/student/model.safetensors",
        "data/predictions/student/test.parquet",
        "curves/distill.csv",
    ):
        assert other[name] != before[name], (
            "another seed must give different bytes, or this file's comparisons prove nothing"
        )
    project.edit(lambda raw: raw["distill"].update(seeds=[0]))
    assert project.repro() == []
    assert project.digests() == before


def test_a_forced_rerun_gives_the_same_bytes_with_tracking_off(project: Project) -> None:
    before, store = project.digests(), hashlib.sha256((project.folder / "mlflow.db").read_bytes()).hexdigest()
    text = (project.folder / "params.yaml").read_text()
    project.edit(lambda raw: raw.update(tracking={"kind": "off"}))
    assert project.repro("--force") == STAGES
    after = project.digests()
    assert {name for name in before | after if before.get(name) != after.get(name)} <= TIMED
    assert hashlib.sha256((project.folder / "mlflow.db").read_bytes()).hexdigest() == store
    (project.folder / "params.yaml").write_text(text)


def test_an_edit_of_the_data_is_noticed(project: Project) -> None:
    readme = project.folder / "inbox/README.md"
    readme.write_text(readme.read_text() + "\n")
    assert "download" not in project.dvc("status")
    data = project.folder / "inbox/data.csv"
    text = data.read_bytes()
    data.write_bytes(text + b"One more row.,email\r\n")
    assert "download" in project.dvc("status")
    data.write_bytes(text)


@pytest.mark.parametrize("stage", ["download", "preprocess", "tokenize"])
def test_bad_params_stop_a_stage_before_anything_is_written(project: Project, stage: str) -> None:
    before, text = project.digests(), (project.folder / "params.yaml").read_text()
    project.edit(
        lambda raw: raw["distill"].update(temprature=raw["distill"].pop("temperature"), epochs="two")
    )
    result = project.run("sh", "stages/run", stage)
    (project.folder / "params.yaml").write_text(text)
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    for part in (
        "3 problems",
        "distill.temprature: unknown key; did you mean `temperature`?",
        "distill.temperature: missing",
        "distill.epochs",
    ):
        assert part in result.stderr
    assert project.digests() == before


def test_the_launcher_says_which_python_it_wants(project: Project) -> None:
    result = project.run("env", "BATON_PYTHON=/bin/false", "sh", "stages/run", "tokenize")
    assert result.returncode == 1
    assert all(part in result.stderr for part in ("got:", "expected:", "/bin/false", "make install"))


RUN_OF_VERSION = """
import json, sys
from mlflow import MlflowClient
client = MlflowClient(sys.argv[1], sys.argv[1])
print(json.dumps(client.get_run(client.get_model_version("csv", "1").run_id).data.to_dictionary()))
"""


@pytest.mark.slow
def test_models_are_registered_in_a_store_that_was_wiped(project: Project) -> None:
    """Every clone that restores outputs whose runs were never delivered is in the same place."""
    aside = project.folder.parent / "aside"
    aside.mkdir()
    store = [project.folder / name for name in ("mlflow.db", "mlartifacts", ".baton/synced.json")]
    kept = [(path, path.rename(aside / path.name)) for path in store if path.exists()]
    params_file = project.folder / "params.yaml"
    text = params_file.read_text()
    try:
        project.edit(lambda raw: raw["distill"].update(alpha=0.9))
        refused = project.run(*BATON, "register")
        assert refused.returncode == 1 and "models/student is not in the MLflow store" in refused.stderr
        params_file.write_text(text)
        made = project.run(*BATON, "register")
        assert made.returncode == 0, made.stderr
        assert "finetune: this store has no run of its models" in made.stdout
        assert "registered: csv version 1 (challenger)" in made.stdout
        traced = project.run(*BATON, "trace", "models/student").stdout
        assert "stage distill (run " in traced and "version csv 1" in traced and "broken" not in traced
        accuracy = storage.read_json(project.folder / "metrics/distill.json")["student"]["val_accuracy"]
        # In a process of its own: this one's connections still read the database that was moved aside.
        run = project.run(sys.executable, "-c", RUN_OF_VERSION, f"sqlite:///{project.folder}/mlflow.db")
        assert run.returncode == 0, run.stderr
        data = json.loads(run.stdout.splitlines()[-1])
        assert data["metrics"]["student/val_accuracy"] == pytest.approx(accuracy)
        assert data["params"]["resolved.adopted"].startswith("from dvc.lock")
    finally:
        params_file.write_text(text)
        for path, old in kept:
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
            old.rename(path)


@pytest.mark.slow
def test_an_experiment_in_a_temporary_copy(project: Project) -> None:
    """`dvc exp run --temp` runs the copy's code with the project's Python.

    Its runs go to the project's MLflow store.
    """
    from mlflow import MlflowClient

    def evaluations() -> int:
        client = MlflowClient(f"sqlite:///{project.folder}/mlflow.db")
        found = client.search_runs([client.get_experiment_by_name("csv").experiment_id])
        return sum(run.info.run_name.startswith("evaluate") for run in found)

    project.repro()  # nothing to do after the tests above; this one can also be run alone
    for command in (
        ["add", "."],
        ["-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "--allow-empty", "-m", "results"],
    ):
        assert project.run("git", *command).returncode == 0
    before, count = project.digests(), evaluations()
    output = project.dvc(
        "exp", "run", "--temp", "--set-param", "evaluate.calibration_bins=9", "--name", "nine"
    )
    assert "Ran experiment(s): nine" in output
    assert evaluations() == count + 1
    assert project.digests() == before
    assert project.run("git", "status", "--porcelain").stdout == ""
    assert "calibration_bins" in project.dvc("exp", "diff", "HEAD", "nine")
