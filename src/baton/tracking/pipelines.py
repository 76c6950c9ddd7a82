"""Pipeline runs: one for each `dvc repro`, the parent of the runs of its stages; found, reopened, ended."""

import time
from collections.abc import Iterable, Mapping
from typing import Any

from mlflow.entities import Run

from baton import params
from baton.tracking import environment
from baton.tracking.process import Owner, Process, this
from baton.tracking.store import Store, locked

# Tags by which runs are found again.
KIND, STAGE, REPRO, PROCESS, STARTED, FINAL = "baton.kind", "baton.stage", "baton.repro", "baton.process", "baton.started", "baton.final"
PARENT = "mlflow.parentRunId"
NOTE = "mlflow.note.content"
STAGES = ("finetune", "distill", "evaluate")


def open_pipeline(store: Store, owner: Owner, values: Mapping[str, Any], tags: Mapping[str, str]) -> str:
    """Find the pipeline run of this repro, or create it; its id. Stages that start at the same time get the same one.

    Args:
        store: the store.
        owner: from `process.owner`.
        values: the whole of `params.yaml`, flattened.
        tags: the environment.
    """
    marks = {PROCESS: owner.process.name, STARTED: repr(owner.process.started)} | (
        {REPRO: _plain(owner.repro_id)} if owner.repro_id else {}
    )
    with locked("pipeline"):
        found = _find(store, owner)
        if found is not None:
            store.client.update_run(found.info.run_id, status="RUNNING")
            store.log(found.info.run_id, tags=marks)
            return str(found.info.run_id)
        about = {**tags, **environment.source(owner.command), **marks, KIND: "pipeline", NOTE: str(params.read().description)}
        # Short, for the list of runs shows some twenty characters.
        name = tags.get("dvc.experiment") or owner.repro_id or ("by hand" if owner.process.same(this()) else "repro")
        run = store.create_run(f"{name} {time.strftime('%m-%d %H:%M')}", about)
        store.log(run, values=values)
    store.client.log_text(run, params.PATH.read_text(encoding="utf-8"), params.PATH.name)
    if diff := environment.uncommitted():
        store.client.log_text(run, diff, "uncommitted.diff")
    return run


def stage_runs(store: Store, pipeline: str) -> dict[str, Run]:
    """The runs of a pipeline run's stages, by id, the newest first."""
    return {run.info.run_id: run for run in store.runs(f"tags.`{PARENT}` = '{pipeline}'")}


def end_stage(store: Store, run: str, pipeline: str, status: str) -> None:
    """End a stage's run; end the pipeline run too if nothing can follow."""
    store.client.set_terminated(run, status)
    stages = stage_runs(store, pipeline)
    own = store.client.get_run(pipeline)
    last = stages[run].data.tags.get(STAGE) == STAGES[-1]
    by_hand = process_of(own).same(this())
    if last or by_hand or status != "FINISHED":
        settle(store, own, stages.values())


def settle(store: Store, pipeline: Run, stages: Iterable[Run]) -> bool:
    """End a pipeline run as its stages ended (the newest run of each counts); False while one of them is running."""
    newest = {run.data.tags.get(STAGE): run for run in sorted(stages, key=lambda run: run.info.start_time)}
    states = {run.info.status for run in newest.values()}
    if "RUNNING" in states:
        return False
    status = next((bad for bad in ("FAILED", "KILLED") if bad in states), "FINISHED")
    end = max((run.info.end_time or 0 for run in newest.values()), default=0)
    store.client.set_terminated(pipeline.info.run_id, status, end or None)
    return True


def process_of(run: Run) -> Process:
    """The process that a run belongs to."""
    tags = run.data.tags
    return Process(tags.get(PROCESS, ":0"), float(tags.get(STARTED, "0")))


def _find(store: Store, owner: Owner) -> Run | None:
    if owner.repro_id:
        found = store.runs(f"tags.`{KIND}` = 'pipeline' AND tags.`{REPRO}` = '{_plain(owner.repro_id)}'", limit=1)
        return found[0] if found else None
    found = store.runs(f"tags.`{KIND}` = 'pipeline' AND tags.`{PROCESS}` = '{owner.process.name}'", limit=10)
    return next((run for run in found if process_of(run).same(owner.process)), None)


def _plain(name: str) -> str:
    return name.replace("'", "_")
