"""A study in MLflow: one parent, a child for each trial, the same after any number of deliveries."""

from pathlib import Path
from typing import Any

from baton import params
from baton.tracking import lineage, pipelines, store, studies
from baton.tracking.studies import Trial

SETTINGS = params.MlflowTracking(kind="mlflow", uri=None, experiment="tuned")
CURVE = ({"step": 5, "loss": 0.7, "val_accuracy": 0.5}, {"step": 10, "loss": 0.5, "val_accuracy": 0.75})


def trial(
    number: int, status: Any = "FINISHED", value: float | None = 0.75, error: str | None = None
) -> Trial:
    values = {"finetune.learning_rate": 1e-4 * (number + 1)}
    return Trial(f"{number:03}", values, status, value, CURVE, 1000, 2000, {"dvc.experiment": "x"}, error)


def deliver(trials: list[Trial], done: bool = False, files: tuple[Path, ...] = ()) -> str:
    return studies.deliver(SETTINGS, "1a2b", {"tune.seed": 0}, trials, done, files)


def test_each_trial_is_one_run(project: Path) -> None:
    table = project / "trials.csv"
    table.write_text("trial\n")
    some = [trial(0), trial(1, "KILLED", None), trial(2, "FAILED", None, "training diverged")]
    parent = deliver(some[:2])
    own = store.open_store(SETTINGS)
    assert own.client.get_run(parent).info.status == "RUNNING"
    # A worker that is killed in the middle leaves a run that has not ended.
    tags = {pipelines.KIND: "trial", studies.TRIAL: "002", pipelines.PARENT: parent}
    own.create_run("trial 002", tags, 1000)
    for _ in range(2):
        assert deliver(some, done=True, files=(table,)) == parent
    runs = {run.data.tags[studies.TRIAL]: run for run in studies._children(own, parent)}
    assert {key: run.info.status for key, run in runs.items()} == {
        "000": "FINISHED",
        "001": "KILLED",
        "002": "FAILED",
    }
    assert [run.info.run_id for run in own.runs(lineage.OWN)] == [parent], "no trials among recent runs"
    first = runs["000"]
    assert first.data.params == {"finetune.learning_rate": "0.0001"} and first.data.metrics["value"] == 0.75
    history = own.client.get_metric_history(first.info.run_id, "val_accuracy")
    assert [(point.step, point.value) for point in history] == [(5, 0.5), (10, 0.75)]
    assert (first.info.start_time, first.info.end_time) == (1000, 2000)
    assert runs["002"].data.tags[pipelines.ERROR] == "training diverged"
    assert own.client.get_run(parent).info.status == "FINISHED"
    assert own.client.get_run(parent).data.metrics == {"value": 0.75}
    assert [file.path for file in own.client.list_artifacts(parent, "tune")] == ["tune/trials.csv"]
