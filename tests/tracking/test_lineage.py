"""`baton sync`: DVC's digests on runs, and links from a pipeline run to the run of each stage."""

import hashlib
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from baton import params, tracking
from tests.tracking.reading import REASONS, journals, runs, tree

OUTS = {
    "finetune": ["models/teacher", "curves/finetune.csv", "metrics/finetune.json"],
    "distill": ["models/student", "metrics/distill.json"],
    "evaluate": ["reports/metrics.json"],
}
DEPS = {
    "finetune": ["data/arrays"],
    "distill": ["models/teacher"],
    "evaluate": ["models/student", "models/teacher"],
}


def fake_stage(name: str, version: str) -> None:
    """Act as a stage without training: write outputs that depend on `version`, inside its context."""
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
    """Write `dvc.yaml`, and `dvc.lock` as DVC leaves it when these stages are settled.

    Their files are written too if DVC restores them.
    """
    graph = {
        name: {"cmd": name, "outs": outs[:-1], "metrics": [{outs[-1]: {"cache": False}}]}
        for name, outs in OUTS.items()
    }
    Path("dvc.yaml").write_text(yaml.safe_dump({"stages": graph}))
    lock = {}
    for name, version in versions.items():
        for path in OUTS[name]:
            if Path(path).suffix:
                Path(path).parent.mkdir(exist_ok=True)
                Path(path).write_text(f"{name} {version}")
        parts = {"outs": OUTS[name], "deps": DEPS[name]}
        lock[name] = {"cmd": name} | {
            part: [{"path": path, "hash": "md5", "md5": digest(path, versions)} for path in paths]
            for part, paths in parts.items()
        }
    Path("dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": lock}))


@pytest.fixture
def repro(project: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`repro(id, running={stage: version}, settled={stage: version})`: stages run one by one.

    DVC writes each entry after its stage.
    """
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
    assert by_name["finetune"].data.tags["dvc.out.models/teacher"] == digest(
        "models/teacher", FIRST
    )  # `distill` synced when it started
    assert "dvc.out.reports/metrics.json" not in by_name["evaluate"].data.tags
    report = tracking.sync()
    assert (report.digests, report.links, report.unknown) == (
        1,
        0,
        (),
    )  # each stage linked itself when it started
    [(pipeline, children)] = tree().values()
    for run in children:
        assert pipeline.data.tags[f"baton.{run.info.run_name}.run_id"] == run.info.run_id
        assert (
            f"/runs/{run.info.run_id}?workflowType=machine_learning) | ran |"
            in pipeline.data.tags["mlflow.note.content"]
        )
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
    }  # with the figures of the linked runs


def test_a_restored_stage_is_linked_to_the_run_that_made_it_not_to_the_last(
    repro: Callable[..., None],
) -> None:
    repro("r1", FIRST, {})
    repro("r2", {"finetune": "B", "distill": "B", "evaluate": "B"}, FIRST)
    repro(
        "r3", {"evaluate": "other metrics"}, {"finetune": "one", "distill": "one", "evaluate": "B"}
    )  # back to A, with other metrics
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
    assert report.links == 2
    (_, first), (pipeline, [child]) = tree().values()
    by_name = {run.info.run_name: run.info.run_id for run in first}
    linked = {name: pipeline.data.tags[f"baton.{name}.run_id"] for name in OUTS}
    assert linked == {
        "finetune": child.info.run_id,
        "distill": by_name["distill"],
        "evaluate": by_name["evaluate"],
    }


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


def test_a_repro_that_came_whole_from_the_run_cache_is_recorded_once(repro: Callable[..., None]) -> None:
    repro("r1", FIRST, {})
    repro("r2", {"finetune": "B", "distill": "B", "evaluate": "B"}, {})
    assert tracking.sync().cached == 0
    dvc_writes(FIRST)  # back to A: DVC restores all of it
    report = tracking.sync()
    assert (report.cached, report.links) == (1, 3)
    assert tracking.sync() == tracking.SyncReport()
    (_, first), _, (pipeline, own) = tree().values()
    by_name = {run.info.run_name: run.info.run_id for run in first}
    assert own == [] and pipeline.info.status == "FINISHED" and pipeline.data.tags["baton.cached"] == "true"
    assert {name: pipeline.data.tags[f"baton.{name}.run_id"] for name in OUTS} == by_name
    assert pipeline.data.metrics == {f"{name}/accuracy": 3 for name in OUTS}
    dvc_writes({"finetune": "B", "distill": "B", "evaluate": "B"})
    assert tracking.sync().cached == 1 and len(tree()) == 4


def test_a_lock_that_git_brought_is_no_repro(repro: Callable[..., None]) -> None:
    """After a clone, or another commit, nothing ran and nothing is recorded.

    It does not matter how often and in which order checkouts are synced.
    """
    repro("r1", FIRST, {})
    tracking.sync()
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org"]
    for words in (["add", "dvc.lock"], ["commit", "-q", "-m", "first"]):
        subprocess.run([*git, *words], check=True)
    second = {"finetune": "B", "distill": "B", "evaluate": "B"}
    repro("r2", second, {})
    tracking.sync()
    shutil.rmtree(".baton")  # the same store, seen from a clone
    dvc_writes(FIRST)
    assert tracking.sync() == tracking.SyncReport() and len(tree()) == 2
    dvc_writes(second)
    subprocess.run([*git, "commit", "-q", "-m", "second", "dvc.lock"], check=True)
    Path("dvc.lock").touch()  # git writes it after the commit
    assert tracking.sync() == tracking.SyncReport() and len(tree()) == 2
    dvc_writes(FIRST)  # control: the commit is the same, so a repro wrote it
    assert tracking.sync().cached == 1 and tracking.sync().cached == 0 and len(tree()) == 3


def test_a_later_repro_points_no_earlier_one_to_its_own_runs(repro: Callable[..., None]) -> None:
    """Halfway through it, `dvc.lock` still holds the evaluation of the previous repro."""
    repro("r1", FIRST, {})
    repro("r2", {"evaluate": "second"}, FIRST)
    tracking.sync()

    def links() -> list[dict[str, str]]:
        return [
            {key: value for key, value in run.data.tags.items() if key.endswith(".run_id")}
            for run, _ in tree().values()
        ][:2]

    before = links()
    repro("r3", {"finetune": "C", "distill": "C"}, {"evaluate": "second"})
    tracking.sync()
    assert links() == before and len(before[1]) == 3


def test_a_repro_from_the_run_cache_is_recorded_without_a_sync_before(repro: Callable[..., None]) -> None:
    repro("r1", FIRST, {})
    repro("r2", {"finetune": "B", "distill": "B", "evaluate": "B"}, {})
    dvc_writes(FIRST)
    assert tracking.sync().cached == 1


def test_a_pipeline_run_keeps_its_lock(repro: Callable[..., None]) -> None:
    from baton.tracking import store

    repro("r1", FIRST, {})
    tracking.sync()
    settings = params.read().tracking
    assert isinstance(settings, params.MlflowTracking)
    [pipeline] = tree()
    assert store.open_store(settings).text(pipeline, "dvc.lock") == Path("dvc.lock").read_text()


def state() -> dict[str, object]:
    """Pipelines, with their own and linked runs, by names instead of ids."""
    name = {run.info.run_id: (run.data.tags["baton.repro"], run.info.run_name) for run, _ in tree().values()}
    name |= {
        run.info.run_id: (name[key][0], run.info.run_name) for key, (_, own) in tree().items() for run in own
    }

    def about(run: Any) -> dict[str, object]:
        tags = {
            key: value
            for key, value in run.data.tags.items()
            if key.startswith(("dvc.out.", "baton.written", "git."))
        }
        links = {key: name[value] for key, value in run.data.tags.items() if key.endswith(".run_id")}
        figures = {key: value for key, value in run.data.metrics.items() if not key.startswith("system/")}
        return {"status": run.info.status, "links": links, "tags": tags, "figures": figures}

    found = {
        name[key][0]: (about(run), {child.info.run_name: about(child) for child in own})
        for key, (run, own) in tree().items()
    }
    return dict(sorted(found.items()))


def test_what_is_delivered_at_last_is_what_would_have_been_delivered_in_time(
    repro: Callable[..., None], project: Path
) -> None:
    """Also across stages that DVC restored: each journal knows `dvc.lock` at its time."""
    database, good = project / "mlflow.db", (project / "mlflow.db").read_bytes()

    def days() -> None:
        repro("r1", FIRST, {})
        repro("r2", {"finetune": "B", "distill": "B", "evaluate": "B"}, FIRST)
        repro("r3", {"evaluate": "other metrics"}, {"finetune": "one", "distill": "one", "evaluate": "B"})

    days()
    tracking.sync()
    in_time = state()
    assert len(in_time) == 3
    database.write_bytes(b"no database" * 1000)
    days()
    assert len(journals()) == 7
    database.write_bytes(good)
    assert tracking.sync().entries >= 7 * 5
    assert state() == in_time
