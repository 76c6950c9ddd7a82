"""Params, figures, data, tags and status of runs in a real SQLite store, and stores that fail."""

import json
import re
import shutil
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from baton import params, storage, tracking
from baton.errors import DataError, TrackingError
from baton.tracking import environment
from tests import tiny
from tests.tracking.reading import REASONS, client, history, journals, runs, tree


def test_the_environment_can_turn_tracking_off(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(tracking.TRACKING, "off")
    with tracking.stage("finetune", REASONS) as run:
        run.metrics({"teacher/loss": 1.0}, step=1)
    assert tree() == {} and journals() == []
    monkeypatch.delenv(tracking.TRACKING)
    with tracking.stage("finetune", REASONS):
        pass
    assert len(tree()) == 1


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
    assert (pipeline.info.status, child.info.status, child.info.run_name) == (
        "FINISHED",
        "FINISHED",
        "finetune",
    )
    flat = params.flatten(params.read_raw())
    for item in (pipeline, child):
        assert {
            key: value for key, value in item.data.params.items() if not key.startswith("resolved.")
        }.keys() == flat.keys()
        assert item.data.params["finetune.learning_rate"] == "0.0001"
        assert item.data.params["tracking.uri"] == "null"
        assert re.fullmatch("[0-9a-f]{40}", item.data.tags["git.commit"])
        assert item.data.tags["git.branch"] == "main"
        assert item.data.tags["git.dirty"] == "true"
        assert {
            "version.python",
            "version.torch",
            "version.transformers",
            "platform",
            "cpu",
        } <= item.data.tags.keys()
        assert item.data.tags["requirements.sha256"] == storage.sha256(project / "requirements.lock")
        assert item.data.metrics["teacher/val_accuracy"] == 0.9
        assert [file.path for file in client().list_artifacts(item.info.run_id, "figures")] == [
            "figures/picture.png"
        ]
    assert child.data.params["resolved.device"] == "cpu: no CUDA device"
    # Stored runs are found by these tags, so a renamed module must not rename them.
    shared = {"baton.kind", "baton.process", "baton.started", "baton.journal"}
    assert {tag for tag in pipeline.data.tags if tag.startswith("baton.")} == shared | {
        "baton.finetune.run_id"
    }
    assert {tag for tag in child.data.tags if tag.startswith("baton.")} == shared | {
        "baton.stage",
        "baton.final",
        "baton.tracking_seconds",
        "baton.written",
    }
    assert [
        (point.step, point.value) for point in client().get_metric_history(child.info.run_id, "teacher/loss")
    ] == [
        (1, 1),
        (2, 1 / 2),
        (3, 1 / 3),
    ]
    assert "system/cpu_utilization_percentage" in child.data.metrics
    [data] = child.inputs.dataset_inputs
    digest = storage.sha256(project / "data/clean/train.parquet")
    assert (data.dataset.name, data.dataset.digest, json.loads(data.dataset.profile)["num_rows"]) == (
        "train",
        digest[:36],
        48,
    )
    assert [(tag.key, tag.value) for tag in data.tags] == [("mlflow.data.context", "training")]
    assert child.data.tags["sha256.data/clean/train.parquet"] == digest
    changed = (project / "mlartifacts" / pipeline.info.run_id / "artifacts" / "uncommitted.diff").read_text()
    assert "+# edited" in changed


def test_the_store_does_not_depend_on_the_working_directory(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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
    assert items == [
        ("a._.x", "null"),
        ("a._.x_", "true"),
        ("long", "x" * 6000),
        ("list", "[]"),
        ("rate", "0.0001"),
    ]


def test_a_store_that_cannot_be_opened_stops_nothing_and_loses_nothing(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = (project / "mlflow.db").read_bytes()
    (project / "mlflow.db").write_bytes(b"no database" * 1000)
    with tracking.stage("finetune", REASONS) as run:
        run.metrics({"loss": 1.0}, step=1)
        run.final({"loss": 0.5})
    output = capsys.readouterr().out
    assert output.count("the MLflow store failed") == 1
    assert "entries wait in the journal" in output
    with pytest.raises(TrackingError, match="journals wait for the MLflow store"):
        tracking.sync()
    (project / "mlflow.db").write_bytes(good)
    report = tracking.sync()
    assert report.entries >= 6  # open, environment, two from the stage, system metrics, close
    assert report.points >= 3  # and system metrics; the final figure is on the pipeline run too
    assert journals() == []
    [(_, [child])] = tree().values()
    assert (child.info.status, child.info.run_name) == ("FINISHED", "finetune")
    assert history(child.info.run_id, "loss") == [(1, 0.5), (1, 1.0)]


def test_a_store_that_dies_stops_nothing_and_is_reported_once(
    project: Path, capsys: pytest.CaptureFixture[str], teacher: Path
) -> None:
    good = (project / "mlflow.db").read_bytes()
    with tracking.stage("finetune", REASONS) as run:
        (project / "mlflow.db").write_bytes(b"no database" * 1000)
        run.metrics({"loss": 1.0}, step=1)
        run.dataset("train", Path("missing.parquet"), "training")
        run.model("teacher", teacher, ["wheat"])
    output = capsys.readouterr().out
    assert output.count("the MLflow store failed") == 1
    assert output.count("dataset is not recorded") == 1
    (project / "mlflow.db").write_bytes(good)
    shutil.rmtree(teacher)  # as DVC does before the stage runs again
    tracking.sync()
    [(_, [child])] = tree().values()
    [output_model] = child.outputs.model_outputs
    assert client().get_logged_model(output_model.model_id).status == "READY"


def test_under_baton_repro_a_stage_leaves_it_to_that_to_say_what_waits(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BATON_DELIVERY", "later")
    (project / "mlflow.db").write_bytes(b"no database" * 1000)
    with tracking.stage("finetune", REASONS) as run:
        run.metrics({"loss": 1.0}, step=1)
    output = capsys.readouterr().out
    assert "the MLflow store failed" in output and "entries wait in the journal" not in output


def test_a_thread_that_the_end_of_the_process_cuts_off_reports_nothing(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the end of a process its temporary files go, under the hands of a thread that still delivers."""
    from baton.tracking import recorder
    from baton.tracking.replay import Carrier

    gone = threading.Event()

    def deliver(carrier: Carrier) -> None:
        gone.wait(60)
        raise OSError("No module named 'pyfunc'")

    monkeypatch.setattr(recorder, "WAIT_SECONDS", 0.2)
    monkeypatch.setattr(Carrier, "deliver", deliver)
    with tracking.stage("finetune", REASONS) as run:
        run.metrics({"loss": 1.0}, step=1)
    [thread] = [thread for thread in threading.enumerate() if thread.name == "tracking"]
    gone.set()
    thread.join(60)
    output = capsys.readouterr().out
    assert "entries wait in the journal" in output and "No module named" not in output


def test_a_stage_tells_the_store_nothing_itself(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every request is made by the thread, so none can block the stage."""
    from mlflow.store.tracking import sqlalchemy_store

    threads = set()
    original = sqlalchemy_store.SqlAlchemyStore.get_experiment_by_name
    monkeypatch.setattr(
        sqlalchemy_store.SqlAlchemyStore,
        "get_experiment_by_name",
        lambda *arguments: (threads.add(threading.current_thread().name), original(*arguments))[1],
    )
    with tracking.stage("finetune", REASONS) as run:
        run.final({"accuracy": 1.0})
    assert (runs()[-1].info.status, threads) == ("FINISHED", {"tracking"})


def test_off_the_main_process_nothing_is_recorded(project: Path) -> None:
    with tracking.stage("finetune", REASONS, record=False) as run:
        assert (type(run), run.id) == (tracking.Run, "")
        run.metrics({"loss": 1.0}, step=1)
    assert journals() == []


def test_what_the_stages_write_themselves_is_no_uncommitted_change(project: Path) -> None:
    """DVC removes metrics and rewrites dvc.lock in every repro."""
    (project / "dvc.yaml").write_text(
        "stages:\n  finetune:\n    cmd: x\n    metrics:\n"
        "      - metrics/finetune.json:\n          cache: false\n"
    )
    (project / "metrics").mkdir()
    (project / "metrics/finetune.json").write_text("{}")
    (project / "dvc.lock").write_text("stages: {}\n")
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org"]
    for words in (["add", "--all", "--", ":(exclude)mlflow.db"], ["commit", "-q", "-m", "all"]):
        subprocess.run([*git, *words], check=True)
    (project / ".git/info/exclude").write_text("mlflow.db\n")
    (project / "dvc.lock").write_text("stages: {x: {}}\n")
    (project / "metrics/finetune.json").unlink()
    assert environment.surroundings()["git"]["git.dirty"] == "false"
    (project / "params.yaml").write_text((project / "params.yaml").read_text() + "# edited\n")
    assert environment.surroundings()["git"]["git.dirty"] == "true"
    assert (
        "+# edited" in environment.surroundings()["diff"]
        and "finetune.json" not in environment.surroundings()["diff"]
    )


def test_a_run_notes_the_models_that_its_base_models_came_from(project: Path) -> None:
    """`baton trace` finds it by them; other base models, and a manifest that is damaged, leave nothing."""
    before, student = {"kind": "run", "sha256": "1" * 64}, {"kind": "local", "folder": "inbox/model"}
    storage.write_json(project / "data/base/manifest.json", {"base": before})
    storage.write_json(
        project / "data/base/student/manifest.json", {"base": student, "models": ["2" * 64, "3" * 64]}
    )
    with tracking.stage("finetune", REASONS):
        pass
    [(pipeline, [child])] = tree().values()
    for run in (pipeline, child):
        assert run.data.tags["baton.base"] == "1" * 64
        assert run.data.tags["baton.student_base"] == f"{'2' * 64} {'3' * 64}"
    storage.write_json(project / "data/base/manifest.json", {"base": {"kind": "wheel", "sha256": "4" * 64}})
    (project / "data/base/student/manifest.json").write_text("[")
    assert environment.bases() == {}
