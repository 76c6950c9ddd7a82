"""Runs, params, figures, models and lineage in a real SQLite store; stages as real processes where that is the point."""

import hashlib
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from baton import params, storage, tracking
from baton.errors import DataError, TrackingError
from tests import tiny

ROOT = Path(__file__).parent.parent
STAGE = ROOT / "tests" / "tracking_stage.py"
REASONS = {"device": "cpu: no CUDA device", "threads": "2: processors this process may use"}


@pytest.fixture(autouse=True)
def _third_party_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        # Pydantic and SQLAlchemy deprecations inside mlflow's own modules.
        for module in ("mlflow", "sqlalchemy", "alembic"):
            warnings.filterwarnings("ignore", module=rf"{module}(\..*)?")
        yield


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty store, its tables made once for all tests."""
    folder = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.chdir(folder)
        from baton.tracking import store

        store.create_database(store.tracking_uri(None))
    return folder / "mlflow.db"


@pytest.fixture
def project(tmp_path: Path, database: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with params, requirements, a git checkout and an empty store, as the working directory."""
    folder = tmp_path / "project"
    folder.mkdir()
    shutil.copy(database, folder / "mlflow.db")
    for name in ("params.yaml", "requirements.lock"):
        shutil.copy(ROOT / name, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"]
    for words in (["init", "-q"], ["add", "params.yaml"], ["commit", "-q", "-m", "first"]):
        subprocess.run(["git", *who, *words], check=True)
    return folder


@pytest.fixture
def teacher(project: Path) -> Path:
    """A model folder of a tiny random teacher."""
    return write_model(project / "models" / "teacher", seed=1)


def write_model(folder: Path, seed: int, labels: tuple[str, ...] = ("grain", "ship", "trade")) -> Path:
    import torch

    from baton.models import build

    base = tiny.write_base(folder.parent / f"base-{folder.name}")
    head = params.LinearHead(kind="linear", pooling="mean", dropout=0.0)
    torch.manual_seed(seed)
    build.save(build.create(base, head, len(labels), 0.0, 0.0, "matmul"), build.ModelInfo(list(labels), head, 16, 0), base, folder)
    shutil.rmtree(base)
    return folder


def client() -> Any:
    from mlflow.tracking import MlflowClient

    return MlflowClient(f"sqlite:///{Path.cwd() / 'mlflow.db'}")


def runs(folder: Path | None = None) -> list[Any]:
    """All runs of the store, the oldest first."""
    from mlflow.tracking import MlflowClient

    found = MlflowClient(f"sqlite:///{(folder or Path.cwd()) / 'mlflow.db'}")
    return list(found.search_runs([item.experiment_id for item in found.search_experiments()], order_by=["attributes.start_time ASC"]))


def tree(folder: Path | None = None) -> dict[str, tuple[Any, list[Any]]]:
    """Pipeline run id -> the run and its children."""
    everything = runs(folder)
    parents = {run.info.run_id: run for run in everything if run.data.tags["baton.kind"] == "pipeline"}
    return {key: (run, [item for item in everything if item.data.tags.get("mlflow.parentRunId") == key]) for key, run in parents.items()}


def names(children: list[Any]) -> list[str]:
    return sorted(run.info.run_name for run in children)


def start(folder: Path, *words: str, program: Path = STAGE, **environment: str) -> subprocess.Popen[str]:
    variables = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}", "DVC_ROOT": str(folder), "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, str(program), *words]
    return subprocess.Popen(command, cwd=folder, env=variables | environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def finished(process: subprocess.Popen[str], code: int = 0) -> str:
    output, _ = process.communicate(timeout=120)
    assert process.returncode == code, output
    return output


# ---- what is on the runs -----------------------------------------------------------------------------------------------------


def test_a_stage_leaves_a_pipeline_run_and_a_child_run(project: Path) -> None:
    tiny.write_clean(project / "data" / "clean")
    picture = project / "picture.png"
    picture.write_bytes(b"\x89PNG")
    (project / "params.yaml").write_text((project / "params.yaml").read_text() + "# edited\n")
    with tracking.stage("finetune", REASONS) as run:
        run.dataset("train", Path("data/clean/train.parquet"), "training")
        for step in range(1, 4):
            run.metrics({"teacher/loss": 1 / step, "teacher/val_accuracy": 0.5}, step=step)
        run.figure(picture)
        run.artifact(picture, "extra")
        run.final({"teacher/val_accuracy": 0.9})

    [(pipeline, [child])] = tree().values()
    assert (pipeline.info.status, child.info.status, child.info.run_name) == ("FINISHED", "FINISHED", "finetune")
    flat = params.flatten(params.read_raw())
    for item in (pipeline, child):
        assert {key: value for key, value in item.data.params.items() if not key.startswith("resolved.")}.keys() == flat.keys()
        assert item.data.params["finetune.learning_rate"] == "0.0001"
        assert item.data.params["tracking.uri"] == "null"
        assert re.fullmatch("[0-9a-f]{40}", item.data.tags["git.commit"])
        assert item.data.tags["git.branch"] == "main"
        assert item.data.tags["git.dirty"] == "true"
        assert {"version.python", "version.torch", "version.transformers", "platform", "cpu"} <= item.data.tags.keys()
        assert item.data.tags["requirements.sha256"] == storage.sha256(project / "requirements.lock")
        assert item.data.metrics["teacher/val_accuracy"] == 0.9
        assert [file.path for file in client().list_artifacts(item.info.run_id, "figures")] == ["figures/picture.png"]
    assert child.data.params["resolved.device"] == "cpu: no CUDA device"
    assert [(point.step, point.value) for point in client().get_metric_history(child.info.run_id, "teacher/loss")] == [
        (1, 1),
        (2, 1 / 2),
        (3, 1 / 3),
    ]
    assert "system/cpu_utilization_percentage" in child.data.metrics
    [data] = child.inputs.dataset_inputs
    digest = storage.sha256(project / "data/clean/train.parquet")
    assert (data.dataset.name, data.dataset.digest, json.loads(data.dataset.profile)["num_rows"]) == ("train", digest[:36], 48)
    assert [(tag.key, tag.value) for tag in data.tags] == [("mlflow.data.context", "training")]
    assert child.data.tags["sha256.data/clean/train.parquet"] == digest
    changed = (project / "mlartifacts" / pipeline.info.run_id / "artifacts" / "uncommitted.diff").read_text()
    assert "+# edited" in changed


def test_the_store_does_not_depend_on_the_working_directory(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = tmp_path / "copy"
    elsewhere.mkdir()
    shutil.copy(project / "params.yaml", elsewhere)
    monkeypatch.setenv("DVC_ROOT", str(project))
    monkeypatch.chdir(elsewhere)
    with tracking.stage("evaluate", REASONS) as run:
        run.artifact(elsewhere / "params.yaml", "extra")
    [(pipeline, [child])] = tree(project).values()
    for item in (pipeline, child):
        assert item.info.artifact_uri.startswith((project / "mlartifacts").as_uri())
    assert sorted(path.name for path in elsewhere.iterdir()) == ["params.yaml"]
    assert (project / "mlartifacts" / child.info.run_id / "artifacts" / "extra" / "params.yaml").is_file()


def test_an_exception_leaves_the_runs_failed(project: Path) -> None:
    with pytest.raises(DataError, match="a row is broken"), tracking.stage("distill", REASONS):
        raise DataError("a row is broken", got="x")
    [(pipeline, [child])] = tree().values()
    assert (pipeline.info.status, child.info.status) == ("FAILED", "FAILED")
    assert child.data.tags["baton.error"] == "a row is broken\n  got:      x"


def test_control_c_leaves_the_runs_killed(project: Path) -> None:
    with pytest.raises(KeyboardInterrupt), tracking.stage("distill", REASONS):
        raise KeyboardInterrupt
    assert {run.info.status for run in runs()} == {"KILLED"}


def test_sigterm_is_as_before_after_a_stage(project: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with tracking.stage("distill", REASONS):
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before


def test_names_that_mlflow_refuses_are_mended() -> None:
    from baton.tracking import store

    items = store.param_items({"a.ü.x": None, "a.ö.x": True, "long": "x" * 9000, "list": [], "rate": 1e-4})
    assert items == [("a._.x", "null"), ("a._.x_", "true"), ("long", "x" * 6000), ("list", "[]"), ("rate", "0.0001")]


def test_a_store_that_cannot_be_opened_stops_nothing(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "mlflow.db").write_bytes(b"no database" * 1000)
    with tracking.stage("finetune", REASONS) as run:
        run.metrics({"loss": 1.0}, step=1)
        run.final({"loss": 1.0})
    assert "this stage is not recorded" in capsys.readouterr().out
    with pytest.raises(TrackingError, match="the MLflow store cannot be used"):
        tracking.sync()


def test_a_store_that_dies_stops_nothing_and_is_reported_once(project: Path, capsys: pytest.CaptureFixture[str], teacher: Path) -> None:
    with tracking.stage("finetune", REASONS) as run:
        (project / "mlflow.db").write_bytes(b"no database" * 1000)
        run.metrics({"loss": 1.0}, step=1)
        run.final({"loss": 1.0})
        run.dataset("train", Path("missing.parquet"), "training")
        run.model("teacher", teacher, ["wheat"])
    output = capsys.readouterr().out
    assert output.count("the MLflow store failed") == 1
    assert "points did not reach the MLflow store" in output


# ---- stages as processes -----------------------------------------------------------------------------------------------------


def test_stages_that_start_together_share_the_run_of_their_repro_id(project: Path) -> None:
    (project / "mlflow.db").unlink()  # the tables too are made by whoever comes first
    started = [start(project, name, BATON_REPRO_ID="ci-1") for name in ("finetune", "distill")]
    for process in started:
        finished(process)
    [(pipeline, children)] = tree().values()
    assert names(children) == ["distill", "finetune"]
    assert pipeline.data.tags["baton.repro"] == "ci-1"
    assert {"finetune/val_accuracy", "distill/val_accuracy"} <= pipeline.data.metrics.keys()


def test_stages_find_each_other_by_their_dvc_ancestor_and_sync_ends_them_when_it_is_gone(project: Path, tmp_path: Path) -> None:
    program = tmp_path / "dvc"
    program.write_text(
        "import subprocess, sys\n"
        "for words in ('finetune', 'distill wait'):\n"
        f"    subprocess.run(['sh', '-c', f'exec \"{sys.executable}\" \"{STAGE}\" {{words}}'], check=True)\n"
    )
    process = start(project, "repro", program=program)
    assert process.stdout is not None
    assert sum(line == "READY\n" for line in itertools.islice(process.stdout, 4)) == 2
    assert tracking.sync().ended == 0  # all of it is alive
    [(pipeline, children)] = tree().values()
    assert names(children) == ["distill", "finetune"]
    assert pipeline.data.tags["mlflow.source.name"] == "dvc repro"
    for each in (*psutil.Process(process.pid).children(recursive=True), process):
        each.kill()
    finished(process, -signal.SIGKILL)
    assert tracking.sync().ended == 2
    [(pipeline, children)] = tree().values()
    assert [pipeline.info.status, *(run.info.status for run in children)] == ["KILLED", "FINISHED", "KILLED"]
    with tracking.stage("finetune", REASONS):
        pass  # without the ancestor: a pipeline run of its own
    assert len(tree()) == 2


def test_sigterm_kills_run_and_pipeline_run(project: Path) -> None:
    process = start(project, "finetune", "wait")
    assert process.stdout is not None
    assert any(line == "READY\n" for line in process.stdout)
    process.send_signal(signal.SIGTERM)
    finished(process, 143)
    [(pipeline, [child])] = tree().values()
    assert (pipeline.info.status, child.info.status) == ("KILLED", "KILLED")
    assert child.data.metrics["finetune/loss"] == 0.5


def test_off_records_nothing_and_imports_nothing(project: Path) -> None:
    (project / "mlflow.db").unlink()
    text = (project / "params.yaml").read_text()
    (project / "params.yaml").write_text(text[: text.index("\ntracking:")] + "\ntracking: {kind: off}\n")
    before = sorted(path.name for path in project.iterdir())
    assert f"Run [] {before}" in finished(start(project, "finetune", "off"))
    assert tracking.sync() == tracking.SyncReport()


# ---- models ------------------------------------------------------------------------------------------------------------------


def test_a_logged_model_says_where_it_is_from_and_gets_test_figures(project: Path, teacher: Path) -> None:
    with tracking.stage("finetune", REASONS) as run:
        run.model("teacher", teacher, ["wheat exports rose"])
        run.final({"teacher/val_accuracy": 0.9, "rest": 1.0})
    with tracking.stage("evaluate", REASONS) as run:
        run.model_metrics("teacher", teacher, {"test/accuracy": 0.8})
        run.model_metrics("student", write_model(project / "models" / "student", seed=2), {"test/accuracy": 0.7})  # never logged
        run.final({"teacher/test_accuracy": 0.8})
    child, evaluate = (next(run for run in runs() if run.info.run_name == name) for name in ("finetune", "evaluate"))
    [output] = child.outputs.model_outputs
    model = client().get_logged_model(output.model_id)
    assert (model.name, model.status, model.source_run_id) == ("teacher", "READY", child.info.run_id)
    assert model.tags["sha256"] == storage.sha256_tree(teacher)
    assert model.params["finetune.learning_rate"] == "0.0001"
    assert {item.key: item.value for item in model.metrics} == {"teacher/val_accuracy": 0.9, "teacher/test_accuracy": 0.8}
    assert [item.model_id for item in client().get_run(evaluate.info.run_id).inputs.model_inputs] == [model.model_id]
    assert evaluate.data.metrics["student/test_accuracy"] == 0.7
    assert len(client().get_metric_history(evaluate.info.run_id, "teacher/test_accuracy")) == 1  # said twice, recorded once


def test_a_model_folder_that_the_lock_does_not_cover_is_reported(project: Path, teacher: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from baton.tracking import pyfuncs

    (project / "requirements.lock").write_text("torch==2.14.1 ; python_version >= '3.11'\nnumpy==2.4.0 \\\n    --hash=sha256:0\n")
    with pytest.raises(TrackingError, match="does not pin") as caught:
        pyfuncs.read_requirements(project / "requirements.lock")
    assert "no mlflow, transformers, safetensors, pandas" in str(caught.value)


# ---- lineage -----------------------------------------------------------------------------------------------------------------

OUTS = {
    "finetune": ["models/teacher", "curves/finetune.csv", "metrics/finetune.json"],
    "distill": ["models/student", "metrics/distill.json"],
    "evaluate": ["reports/metrics.json"],
}
DEPS = {"finetune": ["data/arrays"], "distill": ["models/teacher"], "evaluate": ["models/student", "models/teacher"]}


def fake_stage(name: str, version: str) -> None:
    """What a stage does, without a training: write outputs that depend on `version`, inside its context."""
    with tracking.stage(name, REASONS) as run:  # type: ignore[arg-type]
        for path in OUTS[name]:
            target = Path(path) if Path(path).suffix else Path(path, "model.safetensors")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(f"{name} {version}")
        run.final({f"{name}/accuracy": float(len(version))})


def digest(path: str, versions: dict[str, str]) -> str:
    if Path(path).suffix:
        return hashlib.md5(Path(path).read_bytes()).hexdigest()
    maker = next((name for name, outs in OUTS.items() if path in outs), "")
    return hashlib.md5(f"{path} {versions.get(maker)}".encode()).hexdigest() + ".dir"


def dvc_writes(versions: dict[str, str]) -> None:
    """`dvc.yaml`, and `dvc.lock` as DVC leaves it when these stages are settled; their files are written if DVC restores them."""
    graph = {name: {"cmd": name, "outs": outs[:-1], "metrics": [{outs[-1]: {"cache": False}}]} for name, outs in OUTS.items()}
    Path("dvc.yaml").write_text(yaml.safe_dump({"stages": graph}))
    lock = {}
    for name, version in versions.items():
        for path in OUTS[name]:
            if Path(path).suffix:
                Path(path).parent.mkdir(exist_ok=True)
                Path(path).write_text(f"{name} {version}")
        parts = {"outs": OUTS[name], "deps": DEPS[name]}
        lock[name] = {"cmd": name} | {
            part: [{"path": path, "hash": "md5", "md5": digest(path, versions)} for path in paths] for part, paths in parts.items()
        }
    Path("dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": lock}))


@pytest.fixture
def repro(project: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`repro(id, running={stage: version}, settled={stage: version})`: stages run one by one, DVC writes each entry after it."""
    dvc_writes({})

    def run(identifier: str, running: dict[str, str], settled: dict[str, str]) -> None:
        monkeypatch.setenv("BATON_REPRO_ID", identifier)
        state = dict(settled)
        dvc_writes(state)
        for name, version in running.items():
            fake_stage(name, version)
            state[name] = version
            dvc_writes(state)

    return run


FIRST = {"finetune": "one", "distill": "one", "evaluate": "one"}


def test_sync_puts_the_digests_of_dvc_on_the_runs_once(repro: Callable[..., None]) -> None:
    repro("r1", FIRST, {})
    [(pipeline, children)] = tree().values()
    by_name = {run.info.run_name: run for run in children}
    assert by_name["finetune"].data.tags["dvc.out.models/teacher"] == digest("models/teacher", FIRST)  # `distill` synced when it started
    assert "dvc.out.reports/metrics.json" not in by_name["evaluate"].data.tags
    report = tracking.sync()
    assert (report.digests, report.links, report.unknown) == (1, 1, ())
    [(pipeline, children)] = tree().values()
    for run in children:
        assert pipeline.data.tags[f"baton.{run.info.run_name}.run_id"] == run.info.run_id
        assert run.info.run_id in pipeline.data.tags["mlflow.note.content"]
    assert tracking.sync() == tracking.SyncReport()


def test_a_skipped_stage_is_linked_to_the_run_behind_it(repro: Callable[..., None]) -> None:
    repro("r1", FIRST, {})
    repro("r2", {"evaluate": "second"}, FIRST)
    tracking.sync()
    (_, first), (pipeline, [child]) = tree().values()
    by_name = {run.info.run_name: run.info.run_id for run in first}
    assert child.info.run_name == "evaluate"
    assert pipeline.data.tags["baton.finetune.run_id"] == by_name["finetune"]
    assert pipeline.data.tags["baton.distill.run_id"] == by_name["distill"]
    assert pipeline.data.tags["baton.evaluate.run_id"] == child.info.run_id
    assert pipeline.data.metrics == {
        "finetune/accuracy": 3,
        "distill/accuracy": 3,
        "evaluate/accuracy": 6,
    }  # with the figures of what it stands on


def test_a_restored_stage_is_linked_to_the_run_that_made_it_not_to_the_last(repro: Callable[..., None]) -> None:
    repro("r1", FIRST, {})
    repro("r2", {"finetune": "B", "distill": "B", "evaluate": "B"}, FIRST)
    repro("r3", {"evaluate": "other metrics"}, {"finetune": "one", "distill": "one", "evaluate": "B"})  # back to A, with other metrics
    tracking.sync()
    (_, first), _, (pipeline, _) = tree().values()
    by_name = {run.info.run_name: run.info.run_id for run in first}
    assert pipeline.data.tags["baton.finetune.run_id"] == by_name["finetune"]


def test_a_stage_restored_after_the_last_that_ran_is_linked_by_sync(repro: Callable[..., None]) -> None:
    repro("r1", FIRST, {})
    repro("r2", {"finetune": "one"}, {})  # run again, same bytes
    dvc_writes(FIRST)  # distill and evaluate come from the run-cache
    from baton.tracking import pipelines, store

    settings = params.read().tracking
    assert isinstance(settings, params.MlflowTracking)
    opened = store.open_store(settings)
    pipelines.settle(opened, opened.client.get_run(list(tree())[-1]), [])
    report = tracking.sync()
    assert report.links == 3
    (_, first), (pipeline, [child]) = tree().values()
    by_name = {run.info.run_name: run.info.run_id for run in first}
    linked = {name: pipeline.data.tags[f"baton.{name}.run_id"] for name in OUTS}
    assert linked == {"finetune": child.info.run_id, "distill": by_name["distill"], "evaluate": by_name["evaluate"]}


def test_a_run_whose_entry_was_never_written_gets_no_digests_of_another(repro: Callable[..., None]) -> None:
    repro("r1", {"finetune": "one"}, {})
    fake_stage("finetune", "killed before DVC wrote its entry")
    dvc_writes({"finetune": "one"})
    tracking.sync()
    last = runs()[-1]
    assert last.info.run_name == "finetune"
    assert not [key for key in last.data.tags if key.startswith("dvc.out.")]


def test_an_output_of_no_known_run_is_named(repro: Callable[..., None]) -> None:
    repro("r1", {"evaluate": "one"}, {"finetune": "foreign", "distill": "foreign"})
    report = tracking.sync()
    assert report.unknown == ("finetune", "distill")
    [(pipeline, _)] = tree().values()
    assert "baton.finetune.run_id" not in pipeline.data.tags
