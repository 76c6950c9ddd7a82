"""A `dvc repro` that ran nothing because DVC's run-cache had it all: a pipeline run with links to the runs.

Also the `dvc.lock` of a pipeline run, kept with it.
"""

import hashlib
import time
from collections.abc import Sequence
from typing import Any

from mlflow.entities import Run

from baton import params, storage
from baton.processes.identity import Process
from baton.processes.locks import locked
from baton.processes.supervision import this
from baton.tracking import environment, links, pipelines
from baton.tracking.journal import now
from baton.tracking.store import Store
from baton.workspace import dvc_files
from baton.workspace.dvc_files import LOCK, Lock

CACHED, KEPT = "baton.cached", "dvc.lock.sha256"
SYNCED = "synced.json"  # in .baton
CLAIM_SECONDS = 600.0  # after which a claim on a restored run is void: making the run takes seconds


def record(
    store: Store, mine: Run | None, newest: Run | None, lock: Lock, text: str, consistent: Sequence[str]
) -> Run | None:
    """Create the pipeline run of a repro that ran nothing; return None if there was none, or it is recorded.

    There was one if all stages in `dvc.lock` fit together and match `params.yaml`, each was made by a run of
    this store, and the file was written by a repro since the last sync here, not by git and not by the stages
    of the pipeline run with the same outputs (`mine`).
    """
    if len(consistent) < len(pipelines.wanted(lock)) or not dvc_files.agrees(text) or not _written_anew(text):
        return None
    if mine and mine.info.run_id == _remembered().get(
        "pipeline", "" if mine.data.tags.get(KEPT) == _digest(text) else mine.info.run_id
    ):
        return None  # its stages ran here or, if nothing is remembered, this lock is new
    makers = {stage: links.maker(store, stage, lock) for stage in consistent}
    behind = {stage: run.info.run_id for stage, run in makers.items() if run}
    stands = newest is not None and all(
        newest.data.tags.get(links.link(stage)) == run for stage, run in behind.items()
    )
    if len(behind) < len(makers) or stands:
        return None
    if not _claimed(text):
        return None
    active, own, moment = params.read(), this(), now()
    about = environment.source("dvc repro", "") | environment.git_tags(environment.git()) | environment.tags()
    about |= {pipelines.KIND: "pipeline", CACHED: "true", pipelines.NOTE: active.description}
    about |= {pipelines.PROCESS: own.name, pipelines.STARTED: repr(own.started)}
    run = store.create_run(
        f"from cache {time.strftime('%m-%d %H:%M', time.localtime(moment / 1000))}", about, moment
    )
    store.complete(run, params.flatten(params.read_raw()))
    store.client.log_text(run, params.PATH.read_text(encoding="utf-8"), params.PATH.name)
    store.client.set_terminated(run, "FINISHED")
    return store.client.get_run(run)


def keep_lock(store: Store, pipeline: Run, text: str) -> None:
    """Put `dvc.lock` on a pipeline run, unless it is there."""
    if pipeline.data.tags.get(KEPT) != _digest(text):
        store.client.log_text(pipeline.info.run_id, text, LOCK.name)
        store.log(pipeline.info.run_id, tags={KEPT: _digest(text)})


def remember(lock: str = "", pipeline: str = "") -> None:
    """Note in the project the state at the last sync, or the pipeline run whose stages run here.

    The state is the digest of `dvc.lock` and the commit.
    """
    path = storage.state(SYNCED)
    path.parent.mkdir(parents=True, exist_ok=True)
    news = (
        {"lock": _digest(lock), "head": environment.head(), "pipeline": ""}
        if lock
        else {"pipeline": pipeline}
    )
    with locked("sync"):
        storage.write_json(path, _remembered() | news)


def _claimed(text: str) -> bool:
    """Claim the run of this `dvc.lock`, so that of two syncs at once one creates it.

    No lock is held while the server is asked: it may be silent. The claim of a process that is gone is void,
    and so is an old one, whose process may have been in a container that is gone.
    """
    own, now = this(), time.time()
    with locked("sync"):
        known = _remembered()
        claim = known.get("recording") or {"lock": "", "process": [own.name, own.started]}
        other, age = Process(*claim["process"]), abs(now - claim.get("time", 0.0))
        void = other.same(own) or other.ended() or age > CLAIM_SECONDS
        if not _written_anew(text) or (claim["lock"] == _digest(text) and not void):
            return False
        news = {"recording": {"lock": _digest(text), "process": [own.name, own.started], "time": now}}
        storage.write_json(storage.state(SYNCED), known | news)
    return True


def _remembered() -> dict[str, Any]:
    return storage.read_state(storage.state(SYNCED))


def _written_anew(text: str) -> bool:
    """Return whether a repro wrote `dvc.lock` since the last sync.

    It then differs, and did not come with another commit (or a clone).
    """
    last = _remembered()
    came_with_git = (
        last.get("head") != environment.head()
        and environment.committed(LOCK.name) == text.rstrip("\n")
        and LOCK.stat().st_mtime >= environment.head_time()  # a repro wrote it before it was committed
    )
    return last.get("lock") != _digest(text) and not came_with_git


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
