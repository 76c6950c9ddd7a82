"""Links from a pipeline run to the run of each stage: its own child, or the run whose output DVC kept."""

import json
from collections.abc import Iterable, Mapping

from mlflow.entities import Run

from baton.tracking import pipelines
from baton.tracking.journal import now
from baton.tracking.store import Point, Store, clean_key
from baton.workspace.dvc_files import Lock

OUT = "dvc.out."  # + path: a tag with DVC's digest
VIEW = "?workflowType=machine_learning"  # the UI's page for language models has no runs


def put(store: Store, pipeline: Run, stages: Iterable[str], lock: Lock) -> tuple[int, tuple[str, ...]]:
    """Name the run of each stage on a pipeline run, with its final figures.

    Return the number of new links, and the stages that have no run.
    """
    own = pipelines.stage_runs(store, pipeline.info.run_id).values()
    behind: dict[str, Run | None] = {}
    for stage in stages:
        mine = next((run for run in own if run.data.tags.get(pipelines.STAGE) == stage), None)
        behind[stage] = mine or maker(store, stage, lock)
    new = {
        stage: run
        for stage, run in behind.items()
        if run and pipeline.data.tags.get(link(stage)) != run.info.run_id
    }
    if new:
        _link_all(store, pipeline, {run.info.run_id for run in own}, new)
    return len(new), tuple(stage for stage, run in behind.items() if run is None and stage in lock)


def link(stage: str) -> str:
    """Return the tag of a pipeline run that names the run of a stage."""
    return f"baton.{stage}.run_id"


def _link_all(store: Store, pipeline: Run, own: set[str], new: Mapping[str, Run]) -> None:
    time = now()
    tags = {link(stage): run.info.run_id for stage, run in new.items()}
    points = [
        Point(pipeline.info.run_id, key, run.data.metrics[key], 0, time)
        for run in new.values()
        if run.info.run_id not in own
        for key in json.loads(run.data.tags.get(pipelines.FINAL, "[]"))
        if key in run.data.metrics and key not in pipeline.data.metrics
    ]
    links = {stage: pipeline.data.tags.get(link(stage), "") for stage in pipelines.TRACKED} | {
        stage: run.info.run_id for stage, run in new.items()
    }
    store.send(points)
    store.log(pipeline.info.run_id, tags=tags | {pipelines.NOTE: _note(store, pipeline, own, links)})


def _note(store: Store, pipeline: Run, own: set[str], links: Mapping[str, str]) -> str:
    """Return the description for a pipeline run's page.

    It is the params' description, and a table with a link to the run of each stage.
    """
    rows = []
    for stage, run in links.items():
        if run:
            experiment = store.client.get_run(run).info.experiment_id
            how = "ran" if run in own else "skipped by DVC: output of an earlier run"
            rows.append(f"| {stage} | [{run[:8]}](#/experiments/{experiment}/runs/{run}{VIEW}) | {how} |")
    about = pipeline.data.tags.get(pipelines.NOTE, "").partition("\n\n|")[0]
    return "\n".join([f"{about}\n", "| stage | run | |", "|---|---|---|", *rows])


def has_digests(run: Run, outs: Mapping[str, str]) -> bool:
    """Return whether a run carries all of these digests of outputs."""
    return all(run.data.tags.get(clean_key(f"{OUT}{path}")) == digest for path, digest in outs.items())


def maker(store: Store, stage: str, lock: Lock) -> Run | None:
    """Return the newest run with DVC's digests of this stage's outputs."""
    outs = lock.get(stage, {}).get("outs", {})
    if not outs:
        return None
    path, digest = min(outs.items())
    found = store.runs(
        f"tags.`{pipelines.STAGE}` = '{stage}' AND tags.`{clean_key(OUT + path)}` = '{digest}'"
    )
    return next((run for run in found if has_digests(run, outs)), None)
