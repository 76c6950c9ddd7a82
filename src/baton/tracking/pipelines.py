"""Runs of pipelines and stages: found, reopened and ended.

There is one pipeline run per `dvc repro`, the parent of the runs of its stages.
"""

import hashlib
import time
from collections.abc import Iterable, Mapping
from typing import Any

from mlflow.entities import Run

from baton import params
from baton.evaluate.report.cards.markdown import fenced
from baton.processes.identity import Process
from baton.processes.locks import locked
from baton.tracking import environment
from baton.tracking.store import Store, param_items
from baton.workspace.dvc_files import Lock

# Tags by which runs are found. JOURNAL is the id of a stage's journal; on a pipeline run, of its creator's.
KIND, STAGE, REPRO, PROCESS, STARTED, FINAL = (
    "baton.kind",
    "baton.stage",
    "baton.repro",
    "baton.process",
    "baton.started",
    "baton.final",
)
JOURNAL, ERROR = "baton.journal", "baton.error"
PARENT = "mlflow.parentRunId"
NOTE = "mlflow.note.content"
STAGES = ("finetune", "distill", "evaluate")
# Of all these only `export` may have made nothing: then its entry in `dvc.lock` has an empty folder.
EXPORT, EXPORTED, EMPTY = (
    "export",
    "models/export",
    f"{hashlib.md5(b'[]', usedforsecurity=False).hexdigest()}.dir",
)
TRACKED = (*STAGES, EXPORT)


def open_stage(store: Store, opening: Mapping[str, Any], journal: str) -> tuple[str, str]:
    """Create the run of a stage, or reopen it; return its id and that of its pipeline run.

    `opening` is the entry `open` of its journal.
    """
    found = store.runs(f"tags.`{JOURNAL}` = '{journal}' AND tags.`{KIND}` = 'stage'", limit=1)
    pipeline = open_pipeline(store, opening, journal, found[0].data.tags[PARENT] if found else "")
    name, (process, started) = opening["stage"], opening["process"]
    marks = {PROCESS: process, STARTED: repr(started), PARENT: pipeline}
    if found:
        run = str(found[0].info.run_id)
        store.client.update_run(run, status="RUNNING")
        clear_error(store, found[0])
        store.log(run, tags=marks)
    else:
        about = environment.source(f"stages/{name}.py", opening["user"]) | {
            KIND: "stage",
            STAGE: name,
            JOURNAL: journal,
        }
        run = store.create_run(name, opening["tags"] | about | marks, opening["time"])
    store.complete(
        run,
        {**opening["values"], **{f"resolved.{key}": reason for key, reason in opening["reasons"].items()}},
    )
    return run, pipeline


def open_pipeline(store: Store, opening: Mapping[str, Any], journal: str, earlier: str = "") -> str:
    """Return the id of this repro's pipeline run: found, reopened from an `earlier` attempt, or created.

    Stages that start at the same time get the same one.
    """
    owner = opening["owner"]
    process, started = owner["process"]
    marks = {PROCESS: process, STARTED: repr(started)} | (
        {REPRO: _plain(owner["repro_id"])} if owner["repro_id"] else {}
    )
    # Of this store only: a silent server must not hold up the stages that use another one.
    with locked(f"pipeline-{hashlib.sha256(store.client.tracking_uri.encode()).hexdigest()[:12]}"):
        found = _find(store, owner) or _again(store, earlier, opening["values"])
        if found is not None:
            run = str(found.info.run_id)
            store.client.update_run(run, status="RUNNING")
            store.log(run, tags=marks)
        else:
            about = environment.source(owner["command"], opening["user"])
            about |= {KIND: "pipeline", JOURNAL: journal, NOTE: opening["store"]["description"]}
            # Short, because the list of runs shows some twenty characters.
            by_hand = Process(process, started).same(Process(*opening["process"]))
            name = (
                opening["tags"].get("dvc.experiment")
                or owner["repro_id"]
                or ("by hand" if by_hand else "repro")
            )
            moment = time.strftime("%m-%d %H:%M", time.localtime(opening["time"] / 1000))
            before = opening["time"] - 1  # a millisecond, so that it sorts before its first stage
            run = store.create_run(f"{name} {moment}", opening["tags"] | about | marks, before)
    # Its creator completes it, also after an interruption at this point.
    if found is None or found.data.tags.get(JOURNAL) == journal:
        store.complete(run, opening["values"])
        store.client.log_text(run, opening["params"], params.PATH.name)
    return run


def wanted(lock: Lock) -> tuple[str, ...]:
    """Return the stages that have runs, by `dvc.lock`: `export` only if it exported a model."""
    return TRACKED if tracked(EXPORT, lock.get(EXPORT, {}).get("outs", {})) else STAGES


def tracked(stage: str, outs: Mapping[str, str]) -> bool:
    """Return whether a stage with these outputs has a run."""
    return stage in STAGES or (stage == EXPORT and outs.get(EXPORTED, EMPTY) != EMPTY)


def until(stage: str) -> tuple[str, ...]:
    """Return a stage and those settled before it; `export` and `evaluate` do not wait for each other."""
    return (*STAGES[:-1], EXPORT) if stage == EXPORT else STAGES[: STAGES.index(stage) + 1]


def error_note(error: str) -> str:
    """Return an error as the description of a run, which is Markdown."""
    return fenced(error)


def stage_runs(store: Store, pipeline: str) -> dict[str, Run]:
    """Return the runs of a pipeline run's stages, by id, the newest first."""
    return {run.info.run_id: run for run in store.runs(f"tags.`{PARENT}` = '{pipeline}'")}


def clear_error(store: Store, run: Run) -> None:
    """Remove the tags that an earlier end left on a run."""
    for tag in (ERROR, NOTE):
        if tag in run.data.tags:
            store.client.delete_tag(run.info.run_id, tag)


def end_stage(store: Store, run: str, pipeline: str, status: str, moment: int) -> int:
    """End a stage's run, and the pipeline run if nothing can follow; return how many were ended."""
    store.client.set_terminated(run, status, moment)
    stages = stage_runs(store, pipeline)
    own, parent = stages[run], store.client.get_run(pipeline)
    by_hand = process_of(parent).same(process_of(own))
    last = own.data.tags.get(STAGE) in {STAGES[-1], EXPORT} or by_hand or status != "FINISHED"
    return 1 + (last and settle(store, parent, stages.values()))


def settle(store: Store, pipeline: Run, stages: Iterable[Run]) -> bool:
    """End a pipeline run with its stages' status (the newest run of each counts).

    Return False while one of them is running.
    """
    newest = {run.data.tags.get(STAGE): run for run in sorted(stages, key=lambda run: run.info.start_time)}
    states = {run.info.status for run in newest.values()}
    if "RUNNING" in states:
        return False
    status = next((bad for bad in ("FAILED", "KILLED") if bad in states), "FINISHED")
    end = max((run.info.end_time or 0 for run in newest.values()), default=0)
    store.client.set_terminated(pipeline.info.run_id, status, end or None)
    return True


def process_of(run: Run) -> Process:
    """Return the process that a run belongs to."""
    tags = run.data.tags
    return Process(tags.get(PROCESS, ":0"), float(tags.get(STARTED, "0")))


def _find(store: Store, owner: Mapping[str, Any]) -> Run | None:
    if owner["repro_id"]:
        found = store.runs(
            f"tags.`{KIND}` = 'pipeline' AND tags.`{REPRO}` = '{_plain(owner['repro_id'])}'", limit=1
        )
        return found[0] if found else None
    process = Process(*owner["process"])
    found = store.runs(f"tags.`{KIND}` = 'pipeline' AND tags.`{PROCESS}` = '{process.name}'", limit=10)
    return next((run for run in found if process_of(run).same(process)), None)


def _again(store: Store, earlier: str, values: Mapping[str, Any]) -> Run | None:
    """Return the earlier pipeline run if it exists and has the same params: MLflow never changes params."""
    found = store.client.get_run(earlier) if earlier else None
    if (
        found is None
        or found.info.lifecycle_stage != "active"
        or found.data.params != dict(param_items(values))
    ):
        return None
    return found


def _plain(name: str) -> str:
    return name.replace("'", "_")
