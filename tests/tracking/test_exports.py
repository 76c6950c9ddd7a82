"""An export has a run of its own, linked like those of training; `export: null` has none."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from baton import tracking
from baton.engines import engine
from baton.tracking import environment, pipelines, served_inputs
from baton.workspace import dvc_files
from tests import tiny
from tests.tracking import test_lineage
from tests.tracking.reading import ROOT, tree
from tests.tracking.test_lineage import FIRST, digest, repro  # noqa: F401  a fixture

ALL = FIRST | {"export": "one"}


@pytest.fixture(autouse=True)
def exports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Add the stage to those of the made-up pipeline."""
    monkeypatch.setitem(test_lineage.OUTS, "export", ["models/export", "metrics/export.json"])
    monkeypatch.setitem(test_lineage.DEPS, "export", ["models/student", "models/teacher"])


def nothing_exported(versions: dict[str, str]) -> None:
    """Write `dvc.lock` as it is with `export: null`: DVC's digest of an empty folder."""
    test_lineage.dvc_writes(versions | {"export": "null"})
    lock = yaml.safe_load(Path("dvc.lock").read_text())
    (folder,) = (out for out in lock["stages"]["export"]["outs"] if out["path"] == pipelines.EXPORTED)
    folder["md5"] = pipelines.EMPTY
    Path("dvc.lock").write_text(yaml.safe_dump(lock))


def test_which_stages_have_runs(project: Path) -> None:
    test_lineage.dvc_writes(FIRST)
    assert pipelines.wanted(dvc_files.read_lock()) == ("finetune", "distill", "evaluate")
    nothing_exported(FIRST)
    assert pipelines.wanted(dvc_files.read_lock()) == ("finetune", "distill", "evaluate")
    test_lineage.dvc_writes(ALL)
    assert pipelines.wanted(dvc_files.read_lock()) == ("finetune", "distill", "evaluate", "export")


@pytest.mark.slow
def test_the_digest_of_nothing_is_dvcs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import subprocess
    import sys

    monkeypatch.chdir(tmp_path)
    Path("dvc.yaml").write_text("stages: {made: {cmd: mkdir out, outs: [out]}}")
    subprocess.run(["git", "init", "--quiet"], check=True)
    for words in (["init", "--quiet"], ["repro", "--quiet"]):
        subprocess.run([sys.executable, "-m", "dvc", *words], check=True)
    assert dvc_files.read_lock()["made"]["outs"] == {"out": pipelines.EMPTY}


def test_an_export_is_linked_and_has_its_digests(repro: Callable[..., None]) -> None:  # noqa: F811
    repro("r1", ALL, {})
    report = tracking.sync()
    assert report.unknown == () and report.digests >= 1
    [(pipeline, children)] = tree().values()
    by_name = {run.info.run_name: run for run in children}
    assert {*by_name} == {*ALL}
    assert by_name["export"].data.tags["dvc.out.models/export"] == digest("models/export", ALL)
    for name, run in by_name.items():
        assert pipeline.data.tags[f"baton.{name}.run_id"] == run.info.run_id
    assert pipeline.info.status == "FINISHED" and pipeline.data.metrics["export/accuracy"] == 3
    assert tracking.sync() == tracking.SyncReport()


@pytest.mark.parametrize("order", [("evaluate", "export"), ("export", "evaluate")])
def test_dvc_may_run_it_before_or_after_evaluate(repro: Callable[..., None], order: Any) -> None:  # noqa: F811
    repro("r1", dict.fromkeys(("finetune", "distill", *order), "one"), {})
    tracking.sync()
    [(pipeline, children)] = tree().values()
    assert pipeline.info.status == "FINISHED" and len(children) == 4
    assert all(f"baton.{name}.run_id" in pipeline.data.tags for name in ALL)


def test_an_export_of_a_finished_project_is_linked_to_its_training(repro: Callable[..., None]) -> None:  # noqa: F811
    """`baton export`."""
    repro("r1", FIRST, {})
    repro("r2", {"export": "one"}, FIRST)
    assert tracking.sync().unknown == ()
    (_, first), (pipeline, [child]) = tree().values()
    assert child.info.run_name == "export" and pipeline.info.status == "FINISHED"
    for run in first:
        assert pipeline.data.tags[f"baton.{run.info.run_name}.run_id"] == run.info.run_id
    assert tracking.sync() == tracking.SyncReport()


def test_an_outdated_evaluation_does_not_hide_an_export(repro: Callable[..., None]) -> None:  # noqa: F811
    """`dvc repro export` does not evaluate, and `dvc.lock` has the evaluation of other models."""
    repro("r1", FIRST, {})
    new = {"finetune": "B", "distill": "B"}
    repro("r2", new | {"export": "B"}, {})
    made = {path: digest(path, new) for path in ("models/student", "models/teacher")}
    lock = yaml.safe_load(Path("dvc.lock").read_text())
    stale = {path: digest(path, FIRST) for path in made}
    lock["stages"]["evaluate"] = {
        "cmd": "evaluate",
        "deps": [{"path": path, "hash": "md5", "md5": own} for path, own in stale.items()],
        "outs": [{"path": "reports/metrics.json", "hash": "md5", "md5": "0" * 32}],
    }
    Path("dvc.lock").write_text(yaml.safe_dump(lock))
    report = tracking.sync()
    assert report.unknown == () and report.digests == 1
    _, (pipeline, children) = tree().values()
    assert {run.info.run_name for run in children} == {"finetune", "distill", "export"}
    assert all(f"baton.{run.info.run_name}.run_id" in pipeline.data.tags for run in children)
    assert "baton.evaluate.run_id" not in pipeline.data.tags


def test_without_an_export_nothing_is_missed(repro: Callable[..., None]) -> None:  # noqa: F811
    repro("r1", FIRST, {})
    nothing_exported(FIRST)
    report = tracking.sync()
    assert report.unknown == ()
    [(pipeline, children)] = tree().values()
    assert len(children) == 3 and "baton.export.run_id" not in pipeline.data.tags
    assert "export" not in pipeline.data.tags["mlflow.note.content"]
    assert tracking.sync() == tracking.SyncReport()


def test_an_export_of_no_known_run_is_named(repro: Callable[..., None]) -> None:  # noqa: F811
    """A negative control of the former."""
    repro("r1", FIRST, {})
    test_lineage.dvc_writes(ALL)
    assert tracking.sync().unknown == ("export",)


@pytest.mark.parametrize("library", ["onnxruntime", "openvino"])
@pytest.mark.parametrize(
    ("reads", "inputs", "own"),
    [
        (tiny.TEXT_INPUT, ("input_ids", "attention_mask"), {"tokenizers"}),
        (tiny.image_input(), ("pixels",), {"pillow", "pillow-heif"}),
    ],
    ids=["text", "images"],
)
def test_an_export_needs_no_torch(
    reads: Any, inputs: tuple[str, ...], own: set[str], library: Any, tmp_path: Path
) -> None:
    from baton import storage
    from baton.contracts import input_spec, task_spec

    graph = engine.Graph(library, "int8", inputs)
    info = {"task": task_spec.described(tiny.TASK), "input": input_spec.described(reads)}
    storage.write_json(tmp_path / "baton.json", info | {engine.KEY: engine.described(graph)})
    how = served_inputs.of_folder(tmp_path)
    assert (ROOT / "src/baton" / how.main).is_file() and "graph" in how.main
    assert {*how.packages} == {"mlflow", "pandas", "numpy", library} | own
    locks = [ROOT / path for path in environment.LOCKS]
    pins = environment.read_requirements(locks, how.packages)
    assert [pin.partition("==")[0].replace("_", "-") for pin in pins] == list(how.packages)
    storage.write_json(tmp_path / "baton.json", info)
    assert "torch" in served_inputs.of_folder(tmp_path).packages, "a negative control"
