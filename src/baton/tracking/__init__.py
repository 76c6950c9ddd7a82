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
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from baton import params
from baton.errors import TrackingError

Stage = Literal["finetune", "distill", "evaluate"]

# MLflow's settings, unless the user set others: nothing is sent anywhere, nothing is unpickled, no chatter in a stage's console, and a
# server that hangs costs seconds instead of minutes.
SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
}


class Run:
    """What a stage can tell. This one records nothing: it stands where tracking is off, and in all processes of a stage but the first."""

    id: str = ""  # for `stage(resume=...)`

    def metrics(self, values: Mapping[str, float], step: int, time: int | None = None) -> None:
        """Record figures of one step; `time`, in ms since 1970, is when it first happened. Each key is recorded once a step."""

    def dataset(self, name: str, path: Path, context: str) -> None:
        """Record a Parquet file as a dataset input, by its sha256; `context` says what for (training, validation, evaluation)."""

    def figure(self, path: Path) -> None:
        """Record a picture, on the stage's run and on the pipeline run."""

    def artifact(self, path: Path, folder: str = "") -> None:
        """Record a file or folder under `folder` of the stage's run."""

    def model(self, name: str, path: Path, example: Sequence[str]) -> None:
        """Record a model folder as a pyfunc that takes raw text or images.

        Args:
            name: the model's name.
            path: its folder.
            example: a few texts, or encoded images (PNG, JPEG) as base64 strings.
        """

    def final(self, values: Mapping[str, float]) -> None:
        """Record final figures, on the stage's run and on the pipeline run; `NAME/figure` also on the model NAME that `model` recorded."""

    def model_metrics(self, name: str, path: Path, values: Mapping[str, float]) -> None:
        """Record final figures of the model in folder `path`, named `NAME/test_accuracy` for `test/accuracy`, as `final` does.

        The logged model is found by the folder's digest; without one (tracking was off then) the runs alone get the figures.
        """


@dataclass(frozen=True)
class SyncReport:
    """What `sync` did; all zero when there was nothing to do."""

    digests: int = 0  # runs that got DVC's digests of their outputs
    links: int = 0  # stages that were linked to the run that made their output
    ended: int = 0  # runs whose process is gone and that were still marked as running
    unknown: tuple[str, ...] = ()  # stages whose output no run of this store made
    entries: int = 0  # of journals, that were delivered
    points: int = 0  # values of metrics among them
    refused: tuple[str, ...] = ()  # what the store will never take, and why
    waiting: tuple[str, ...] = ()  # journals that could not be delivered, and why
    cached: int = 0  # repros that ran nothing, because all came from DVC's run-cache, and that were recorded


@contextlib.contextmanager
def stage(name: Stage, reasons: Mapping[str, str], resume: str | None = None, record: bool = True) -> Iterator[Run]:
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
        raise TrackingError("base.kind: registered needs the MLflow store", got="tracking.kind: off", expected="mlflow")
    prepare()
    from baton.tracking import registered_models

    return registered_models.teacher(active, name, version, target)


def prepare() -> None:
    """Apply `SETTINGS`: must come before mlflow is imported, which reads some of them then."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
