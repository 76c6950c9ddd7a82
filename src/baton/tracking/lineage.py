"""Which run made which output: DVC's digests from `dvc.lock`, on the runs; links for stages that DVC skipped.

DVC writes a stage's entry in `dvc.lock` only after its command returned, so a run cannot put its digests on
itself. Instead it notes the MD5 of the files it wrote (its metrics and curves, which no other training run
has); the entry with the same MD5s belongs to it, whatever happened in between: a kill before DVC wrote the
entry, another recipe, a restore from DVC's run-cache.
"""

import json

from mlflow.entities import Run

from baton.tracking import journal, links, pipelines, restored_runs
from baton.tracking.run import SyncReport
from baton.tracking.store import Store, clean_key
from baton.workspace.dvc_files import Lock

WRITTEN = "baton.written"  # on a stage's run: {path: MD5} of the files it wrote
RECENT = 100  # runs that a sync looks at: some 25 repros
# Trials of `baton tune` are no stages of a pipeline, and may be many.
OWN = f"tags.`{pipelines.KIND}` != 'trial'"


def begin_stage(store: Store, stage: str, pipeline: str, lock: Lock) -> None:
    """Sync, and link this stage and those before it to the pipeline run.

    DVC has settled these, by running, skipping or restoring them. `lock` is `dvc.lock` as it was when the
    stage began.
    """
    sync(store, lock, current=pipeline)
    restored_runs.remember(pipeline=pipeline)
    links.put(store, store.client.get_run(pipeline), pipelines.until(stage), lock)


def sync(store: Store, lock: Lock, current: str = "", text: str = "") -> SyncReport:
    """Sync the store: see `baton.tracking.sync`.

    Args:
        store: the store.
        lock: `dvc.lock`.
        current: the pipeline run that a stage is about to join, which is not over.
        text: the text of `dvc.lock` if no stage is running: it is put on the runs, and reveals a repro that
            ran nothing.
    """
    runs = store.runs(OWN, RECENT)
    if ended := _end_dead(store, runs):
        runs = store.runs(OWN, RECENT)
    stages = [run for run in runs if run.data.tags.get(pipelines.KIND) == "stage"]
    digests = sum(_put_digests(store, run, lock) for run in stages)
    if digests:
        runs = store.runs(OWN, RECENT)
    ours = [
        run for run in runs if run.data.tags.get(pipelines.KIND) == "pipeline" and run.info.run_id != current
    ]
    linked, cached, unknown, settled = 0, 0, tuple[str, ...](), _consistent(lock)
    mine = next(
        (run for run in ours if run.info.status == "FINISHED" and _made(_own(run, runs), lock, settled)),
        None,
    )
    if text and (restored := restored_runs.record(store, mine, next(iter(ours), None), lock, text, settled)):
        mine, cached = restored, 1
    if mine:
        linked, unknown = links.put(store, mine, settled, lock)
        if text:
            restored_runs.keep_lock(store, mine, text)
    if text:
        restored_runs.remember(lock=text)
    return SyncReport(digests=digests, links=linked, ended=ended, unknown=unknown, cached=cached)


def _own(pipeline: Run, runs: list[Run]) -> dict[str, Run]:
    """Return, per stage, the last of a pipeline run's own runs; an earlier attempt may have failed."""
    own = (run for run in reversed(runs) if run.data.tags.get(pipelines.PARENT) == pipeline.info.run_id)
    return {run.data.tags.get(pipelines.STAGE, ""): run for run in own}


def _put_digests(store: Store, run: Run, lock: Lock) -> int:
    """Put the digests of `dvc.lock` on a stage's run and its models, if the entry is about this run's files.

    Return 1 if they were put, else 0.
    """
    tags = run.data.tags
    outs = lock.get(tags.get(pipelines.STAGE, ""), {}).get("outs", {})
    wrote = json.loads(tags.get(WRITTEN, "{}"))
    if (
        run.info.status != "FINISHED"
        or not wrote
        or any(outs.get(path) != digest for path, digest in wrote.items())
    ):
        return 0
    wanted = {f"{links.OUT}{path}": digest for path, digest in outs.items()}
    if all(tags.get(clean_key(key)) == digest for key, digest in wanted.items()):
        return 0
    store.log(run.info.run_id, tags=wanted)
    for model in store.models(f"source_run_id = '{run.info.run_id}'"):
        if digest := outs.get(model.tags.get("path", "")):
            store.client.set_logged_model_tags(model.model_id, {"dvc.out": digest})
    return 1


def _made(own: dict[str, Run], lock: Lock, consistent: list[str]) -> bool:
    """Return whether a pipeline run's own stages made their outputs in `dvc.lock`.

    The file must be consistent up to these stages.
    """
    for stage, run in own.items():
        outs = lock.get(stage, {}).get("outs", {})
        if (
            stage not in consistent
            or run.info.status != "FINISHED"
            or not outs
            or not links.has_digests(run, outs)
        ):
            return False
    return bool(own)


def _consistent(lock: Lock) -> list[str]:
    """Return the stages that read the current outputs of the stages before them.

    A stage that did not makes all later ones outdated; `export` and `evaluate` do not follow each other.
    """
    made = {path: digest for entry in lock.values() for path, digest in entry["outs"].items()}
    consistent = {
        stage
        for stage, entry in lock.items()
        if all(made.get(path, digest) == digest for path, digest in entry["deps"].items())
    }
    return [stage for stage in pipelines.wanted(lock) if consistent.issuperset(pipelines.until(stage))]


def _end_dead(store: Store, runs: list[Run]) -> int:
    """End runs still marked as running although their process is gone; return how many.

    That is a stage that was killed, or a pipeline run that is complete. A run whose journal is not delivered
    yet ends with the delivery.
    """
    undelivered = {item.id for item in journal.left() if item.waiting()}
    running = [run for run in runs if run.info.status == "RUNNING" and pipelines.process_of(run).ended()]
    stages = [
        run
        for run in running
        if run.data.tags.get(pipelines.KIND) == "stage"
        and run.data.tags.get(pipelines.JOURNAL) not in undelivered
    ]
    for run in stages:
        store.log(run.info.run_id, tags={pipelines.ERROR: journal.GONE})
        store.client.set_terminated(run.info.run_id, "KILLED")
    ended = len(stages)
    for run in running:
        if run.data.tags.get(pipelines.KIND) == "pipeline":
            ended += pipelines.settle(store, run, pipelines.stage_runs(store, run.info.run_id).values())
    return ended
