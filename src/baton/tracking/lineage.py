"""Which run made what: DVC's digests of outputs, from `dvc.lock`, on the runs; stages that DVC skipped linked to the run behind them.

DVC writes a stage's entry in `dvc.lock` only after its command returned, so a run cannot put its own digests on itself. It notes the MD5
of the files it wrote instead (its metrics and curves, which no other training has); the entry with the same MD5s is its own, whatever
happened in between: a kill before DVC wrote the entry, another recipe, a restore from DVC's run-cache.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from mlflow.entities import Run

from baton import params
from baton.tracking import SyncReport, pipelines
from baton.tracking.delivery import Point, now
from baton.tracking.store import Store, clean_key, locked

LOCK, GRAPH = Path("dvc.lock"), Path("dvc.yaml")
WRITTEN = "baton.written"  # on a stage's run: {path: MD5} of the files it wrote
OUT = "dvc.out."  # + path: DVC's digest
RECENT = 200  # runs that a sync looks at

Lock = Mapping[str, Mapping[str, dict[str, str]]]  # stage -> "outs" and "deps" -> path -> digest


def begin_stage(store: Store, stage: str, pipeline: str) -> None:
    """Sync, and link the stages before this one to the pipeline run: DVC has settled them, by running, skipping or restoring."""
    sync(store)
    before = pipelines.STAGES[: pipelines.STAGES.index(stage)]
    link(store, store.client.get_run(pipeline), before, read_lock())


def written(stage: str) -> dict[str, str]:
    """MD5 of the output files (not folders) of a stage, by `dvc.yaml`; nothing without such a file."""
    section = (params.read_raw(GRAPH).get("stages") or {}).get(stage) or {} if GRAPH.is_file() else {}
    entries = [entry for key in ("outs", "metrics", "plots") for entry in section.get(key) or ()]
    paths = [str(next(iter(entry)) if isinstance(entry, dict) else entry) for entry in entries]
    return {path: hashlib.md5(Path(path).read_bytes(), usedforsecurity=False).hexdigest() for path in sorted(paths) if Path(path).is_file()}


def read_lock() -> Lock:
    """Digests of each stage's outputs and dependencies; nothing without a `dvc.lock`."""
    stages = (params.read_raw(LOCK).get("stages") or {}) if LOCK.is_file() else {}
    return {
        name: {part: {item["path"]: item["md5"] for item in entry.get(part) or () if "md5" in item} for part in ("outs", "deps")}
        for name, entry in stages.items()
    }


def sync(store: Store) -> SyncReport:
    """See `baton.tracking.sync`."""
    lock = read_lock()
    with locked("sync"):
        runs = store.runs(limit=RECENT)
        if ended := _end_dead(store, runs):
            runs = store.runs(limit=RECENT)
        stages = [run for run in runs if run.data.tags.get(pipelines.KIND) == "stage"]
        digests = sum(_put_digests(store, run, lock) for run in stages)
        if digests:
            runs = store.runs(limit=RECENT)
        newest = next((run for run in runs if run.data.tags.get(pipelines.KIND) == "pipeline"), None)
        links, unknown = 0, tuple[str, ...]()
        if newest is not None and newest.info.status == "FINISHED":
            own = [run for run in runs if run.data.tags.get(pipelines.PARENT) == newest.info.run_id]
            links, unknown = link(store, newest, _settled(own, lock), lock)
    return SyncReport(digests=digests, links=links, ended=ended, unknown=unknown)


def link(store: Store, pipeline: Run, stages: Iterable[str], lock: Lock) -> tuple[int, tuple[str, ...]]:
    """Name the run behind each stage on a pipeline run, with its final figures; how many links are new, which stages have no run."""
    own = pipelines.stage_runs(store, pipeline.info.run_id).values()
    behind: dict[str, Run | None] = {}
    for stage in stages:
        mine = next((run for run in own if run.data.tags.get(pipelines.STAGE) == stage), None)
        behind[stage] = mine or _maker(store, stage, lock)
    new = {stage: run for stage, run in behind.items() if run and pipeline.data.tags.get(_link(stage)) != run.info.run_id}
    if new:
        _link_all(store, pipeline, {run.info.run_id for run in own}, new)
    return len(new), tuple(stage for stage, run in behind.items() if run is None and stage in lock)


def _link(stage: str) -> str:
    return f"baton.{stage}.run_id"


def _link_all(store: Store, pipeline: Run, own: set[str], new: Mapping[str, Run]) -> None:
    time = now()
    tags = {_link(stage): run.info.run_id for stage, run in new.items()}
    points = [
        Point(key, run.data.metrics[key], 0, time)
        for run in new.values()
        if run.info.run_id not in own
        for key in json.loads(run.data.tags.get(pipelines.FINAL, "[]"))
        if key in run.data.metrics and key not in pipeline.data.metrics
    ]
    links = {stage: pipeline.data.tags.get(_link(stage), "") for stage in pipelines.STAGES} | {
        stage: run.info.run_id for stage, run in new.items()
    }
    rows = []
    for stage, identifier in links.items():
        if identifier:
            experiment = store.client.get_run(identifier).info.experiment_id
            how = "ran" if identifier in own else "skipped by DVC, output of an earlier run"
            rows.append(f"| {stage} | [{identifier[:8]}](#/experiments/{experiment}/runs/{identifier}) | {how} |")
    about = pipeline.data.tags.get(pipelines.NOTE, "").partition("\n\n|")[0]
    note = "\n".join([f"{about}\n", "| stage | run | |", "|---|---|---|", *rows])
    store.log(pipeline.info.run_id, points, tags=tags | {pipelines.NOTE: note})


def _put_digests(store: Store, run: Run, lock: Lock) -> int:
    """Put the digests of `dvc.lock` on a stage's run, and on its models, if the entry is about this run's files; 1 if it was done."""
    tags = run.data.tags
    outs = lock.get(tags.get(pipelines.STAGE, ""), {}).get("outs", {})
    wrote = json.loads(tags.get(WRITTEN, "{}"))
    if run.info.status != "FINISHED" or not wrote or any(outs.get(path) != digest for path, digest in wrote.items()):
        return 0
    wanted = {f"{OUT}{path}": digest for path, digest in outs.items()}
    if all(tags.get(clean_key(key)) == digest for key, digest in wanted.items()):
        return 0
    store.log(run.info.run_id, tags=wanted)
    for model in store.models(f"source_run_id = '{run.info.run_id}'"):
        if digest := outs.get(model.tags.get("path", "")):
            store.client.set_logged_model_tags(model.model_id, {"dvc.out": digest})
    return 1


def _maker(store: Store, stage: str, lock: Lock) -> Run | None:
    """The newest run with DVC's digests of this stage's outputs."""
    outs = lock.get(stage, {}).get("outs", {})
    if not outs:
        return None
    path, digest = min(outs.items())
    found = store.runs(f"tags.`{pipelines.STAGE}` = '{stage}' AND tags.`{clean_key(OUT + path)}` = '{digest}'")
    return next((run for run in found if has_digests(run, outs)), None)


def has_digests(run: Run, outs: Mapping[str, str]) -> bool:
    """Whether a run carries these digests of outputs, all of them."""
    return all(run.data.tags.get(clean_key(f"{OUT}{path}")) == digest for path, digest in outs.items())


def _settled(own: list[Run], lock: Lock) -> list[str]:
    """Stages whose entries in `dvc.lock` are of the same state as a pipeline run's own stages; none if the file has moved on since."""
    for run in own:
        outs = lock.get(run.data.tags.get(pipelines.STAGE, ""), {}).get("outs", {})
        if run.info.status != "FINISHED" or not outs or not has_digests(run, outs):
            return []
    made = {path: digest for entry in lock.values() for path, digest in entry["outs"].items()}
    consistent = {stage for stage, entry in lock.items() if all(made.get(path, digest) == digest for path, digest in entry["deps"].items())}
    settled: list[str] = []
    for stage in pipelines.STAGES:  # an inconsistent stage makes everything after it old
        if stage not in consistent:
            break
        settled.append(stage)
    return settled


def _end_dead(store: Store, runs: list[Run]) -> int:
    """End runs that are still marked as running although their process is gone: a stage was killed, a pipeline run is complete."""
    running = [run for run in runs if run.info.status == "RUNNING" and pipelines.process_of(run).ended()]
    stages = [run for run in running if run.data.tags.get(pipelines.KIND) == "stage"]
    for run in stages:
        store.log(run.info.run_id, tags={"baton.error": "its process is gone: killed, or the machine went down"})
        store.client.set_terminated(run.info.run_id, "KILLED")
    ended = len(stages)
    for run in running:
        if run.data.tags.get(pipelines.KIND) == "pipeline":
            ended += pipelines.settle(store, run, pipelines.stage_runs(store, run.info.run_id).values())
    return ended
