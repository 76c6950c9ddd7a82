"""A `dvc repro` that ran nothing because DVC's run-cache had it all: recorded as a pipeline run that points to the runs behind it.

Also the `dvc.lock` of a pipeline run, kept with it.
"""

import hashlib
import time
from collections.abc import Sequence

from mlflow.entities import Run

from baton import params
from baton.process import this
from baton.tracking import dvcfiles, environment, links, pipelines
from baton.tracking.dvcfiles import LOCK, Lock
from baton.tracking.journal import now
from baton.tracking.store import Store

CACHED, KEPT = "baton.cached", "dvc.lock.sha256"


def record(store: Store, newest: Run, lock: Lock, text: str, consistent: Sequence[str]) -> Run | None:
    """Create the pipeline run of a repro that ran nothing; None if there was none, or it is recorded.

    That is: all stages in `dvc.lock` fit together and to `params.yaml`, each was made by a run of this store, and these are not the runs
    that the `newest` pipeline run stands for.
    """
    if len(consistent) < len(pipelines.STAGES) or not dvcfiles.agrees(text):
        return None
    makers = {stage: links.maker(store, stage, lock) for stage in consistent}
    behind = {stage: run.info.run_id for stage, run in makers.items() if run}
    if len(behind) < len(makers) or all(newest.data.tags.get(links.link(stage)) == run for stage, run in behind.items()):
        return None
    active, own, moment = params.read(), this(), now()
    about = environment.source("dvc repro", "") | environment.git_tags(environment.surroundings()["git"]) | environment.tags()
    about |= {pipelines.KIND: "pipeline", CACHED: "true", pipelines.NOTE: active.description}
    about |= {pipelines.PROCESS: own.name, pipelines.STARTED: repr(own.started)}
    run = store.create_run(f"from cache {time.strftime('%m-%d %H:%M', time.localtime(moment / 1000))}", about, moment)
    store.complete(run, params.flatten(params.read_raw()))
    store.client.log_text(run, params.PATH.read_text(encoding="utf-8"), params.PATH.name)
    store.client.set_terminated(run, "FINISHED")
    return store.client.get_run(run)


def keep_lock(store: Store, pipeline: Run, text: str) -> None:
    """Put `dvc.lock` on a pipeline run, unless it is there."""
    digest = hashlib.sha256(text.encode()).hexdigest()
    if pipeline.data.tags.get(KEPT) != digest:
        store.client.log_text(pipeline.info.run_id, text, LOCK.name)
        store.log(pipeline.info.run_id, tags={KEPT: digest})
