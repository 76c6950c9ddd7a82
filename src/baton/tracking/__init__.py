"""MLflow: the runs that a `dvc repro` leaves behind, and their content; a null tracker when tracking is off.

Input: what the stages finetune, distill and evaluate record. Output: the project's MLflow store. Each `dvc
repro` that trains or evaluates is one pipeline run with a child run for each of these stages that ran:

    with tracking.stage("finetune", runtime.reasons) as run:
        run.metrics({"teacher/loss": 0.3}, step=10)

A stage records to a journal on the local disk (`journal`), and a thread sends the journal to the store
(`delivery`), so a store that fails or hangs neither stops nor slows a stage. `sync` (the command `baton
sync`) delivers the rest, puts DVC's digests of outputs on the runs and links the stages that DVC skipped.
With `tracking: {kind: off}` nothing is recorded and mlflow is not imported. `BATON_TRACKING=off` in the
environment has the same effect, and leaves params as they are. `BATON_POINTS` names a file that then gets the
metrics of the stage (`points`).
"""

import contextlib
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from baton import params
from baton.errors import TrackingError
from baton.tracking import durations, points
from baton.tracking.run import SETTINGS, Run, Stage, SyncReport, asked_once, patient, prepare

__all__ = [
    "SETTINGS",
    "Run",
    "Stage",
    "SyncReport",
    "asked_once",
    "logged_model",
    "patient",
    "prepare",
    "stage",
    "sync",
]

TRACKING = "BATON_TRACKING"


@contextlib.contextmanager
def stage(
    name: Stage, reasons: Mapping[str, str], resume: str | None = None, record: bool = True
) -> Iterator[Run]:
    """Track a stage; its run ends FINISHED, FAILED (an exception) or KILLED (Ctrl-C, SIGTERM).

    SIGTERM becomes `SystemExit(143)` inside. Write the stage's outputs before leaving the context: they
    identify the run.

    Args:
        name: the stage.
        reasons: the runtime's choices, with their reasons: `{"device": "cpu: no CUDA device"}`.
        resume: `id` of the run of an earlier attempt, to be continued. Points that it has are not recorded
            again.
        record: False in a stage's other processes.
    """
    since = time.perf_counter()
    active = params.read() if record and os.environ.get(TRACKING) != "off" else None
    if active is None or isinstance(active.tracking, params.NoTracking):
        with points.recorded(record) as own:
            yield own
    else:
        prepare()
        from baton.tracking import recorder

        with recorder.tracked(name, reasons, active, resume, since) as run:
            yield run
    if record:
        durations.note(name, time.perf_counter() - since)


def sync() -> SyncReport:
    """Deliver the rest of the journals, and bring the store in line with `dvc.lock`.

    That means: digests on runs, links for stages that DVC skipped, an end for runs whose process is gone.
    Idempotent; takes a second or two if there is nothing to do. Journals of running stages are left alone.

    Raises:
        TrackingError: the store cannot be used. Nothing is lost.
    """
    active = params.read().tracking
    if isinstance(active, params.NoTracking):
        return SyncReport()
    prepare()
    from baton.tracking import delivery

    return delivery.sync(active)


def logged_model(base: params.LoggedBase, target: Path) -> Path:
    """Fetch the folder of a model that the store in params has into `target`; return its path.

    Of a registered version it is the teacher.

    Raises:
        TrackingError: tracking is off, or there is no such model.
    """
    active = params.read().tracking
    if isinstance(active, params.NoTracking):
        raise TrackingError(
            f"base.kind: {base.kind} needs the MLflow store", got="tracking.kind: off", expected="mlflow"
        )
    prepare()
    from baton.tracking import stored_models

    return stored_models.fetch(active, base, target)
