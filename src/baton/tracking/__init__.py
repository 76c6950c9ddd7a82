"""MLflow: which runs a `dvc repro` leaves behind, and what is in them; a null tracker when tracking is off.

Input: what the stages finetune, distill and evaluate tell. Output: the MLflow store of the project. Each `dvc repro` that trains or
evaluates is one pipeline run with a child run for each of these stages that ran:

    with tracking.stage("finetune", runtime.reasons) as run:
        run.metrics({"teacher/loss": 0.3}, step=10)

What a stage tells goes to a journal on the local disk (`journal`), and a thread takes it from there to the store (`delivery`), so a store
that fails or hangs neither stops nor slows a stage. `sync` (the command `baton sync`) delivers what was left, puts DVC's digests of
outputs on the runs and links what DVC skipped. With `tracking: {kind: off}` nothing is recorded and mlflow is not imported.
"""

import contextlib
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from baton import params
from baton.errors import TrackingError
from baton.tracking.run import Run, Stage, SyncReport, prepare

__all__ = ["Run", "Stage", "SyncReport", "prepare", "registered_teacher", "stage", "sync"]


@contextlib.contextmanager
def stage(
    name: Stage, reasons: Mapping[str, str], resume: str | None = None, record: bool = True
) -> Iterator[Run]:
    """Track a stage; its run ends FINISHED, FAILED (an exception) or KILLED (Ctrl-C, SIGTERM).

    SIGTERM becomes `SystemExit(143)` inside. The stage's outputs must be written before the context is left, for they identify the run.

    Args:
        name: the stage.
        reasons: what the runtime chose, with the reasons: `{"device": "cpu: no CUDA device"}`.
        resume: `id` of the run of an earlier attempt, which goes on. Points that it has are not recorded again.
        record: False in a stage's other processes.
    """
    since = time.perf_counter()
    active = params.read() if record else None
    if active is None or isinstance(active.tracking, params.NoTracking):
        yield Run()
        return
    prepare()
    from baton.tracking import recorder

    with recorder.tracked(name, reasons, active, resume, since) as run:
        yield run


def sync() -> SyncReport:
    """Deliver what is left in journals, and bring the store in line with `dvc.lock`.

    That is: digests on runs, links for stages that DVC skipped, an end for runs whose process is gone. Idempotent; takes a second or two
    where there is nothing to do. Journals of stages that are running are left to these.

    Raises:
        TrackingError: the store cannot be used. Nothing is lost.
    """
    active = params.read().tracking
    if isinstance(active, params.NoTracking):
        return SyncReport()
    prepare()
    from baton.tracking import delivery

    return delivery.sync(active)


def registered_teacher(name: str, version: int, target: Path) -> Path:
    """The model folder of the teacher behind a registered version, fetched into `target` from the store that params name.

    Raises:
        TrackingError: tracking is off, there is no such version, or it names no teacher.
    """
    active = params.read().tracking
    if isinstance(active, params.NoTracking):
        raise TrackingError(
            "base.kind: registered needs the MLflow store", got="tracking.kind: off", expected="mlflow"
        )
    prepare()
    from baton.tracking import registered_models

    return registered_models.teacher(active, name, version, target)
