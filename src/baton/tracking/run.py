"""The records of a stage, the report of `sync`, and MLflow's settings. Without mlflow."""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from baton.processes import patience

Stage = Literal["finetune", "distill", "evaluate", "export"]
Made = TypeVar("Made")

RETRIES, MOST_RETRIES = "MLFLOW_HTTP_REQUEST_MAX_RETRIES", 10  # MLflow refuses more

# MLflow's settings, unless the user set others: no telemetry, no unpickling, no chatter in a stage's console,
# and a server that hangs costs seconds instead of minutes.
SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    RETRIES: "1",
}


class Run:
    """The records of a stage.

    This base class records nothing: it is used when tracking is off, and in all processes of a stage but the
    first.
    """

    id: str = ""  # for `stage(resume=...)`

    def metrics(self, values: Mapping[str, float], step: int, time: int | None = None) -> None:
        """Record figures of one step; each key is recorded once per step.

        `time`, in ms since 1970, is when the step first happened.
        """

    def dataset(self, name: str, path: Path, context: str) -> None:
        """Record a Parquet file as a dataset input, by its sha256.

        `context` is its purpose (training, validation, evaluation).
        """

    def figure(self, path: Path) -> None:
        """Record an image, on the stage's run and on the pipeline run."""

    def artifact(self, path: Path, folder: str = "") -> None:
        """Record a file or folder under `folder` of the stage's run."""

    def model(self, name: str, path: Path, example: Sequence[Any]) -> None:
        """Record a model folder as a pyfunc that takes raw text or images.

        Args:
            name: the model's name.
            path: its folder.
            example: a few texts, pairs of texts, encoded images (PNG, JPEG) as base64 strings, or dicts of an
                image and a text.
        """

    def final(self, values: Mapping[str, float]) -> None:
        """Record final figures, on the stage's run and on the pipeline run.

        `NAME/figure` is also recorded on the model NAME that `model` recorded.
        """

    def model_metrics(self, name: str, path: Path, values: Mapping[str, float]) -> None:
        """Record final figures of the model in folder `path`, as `final` does.

        `test/accuracy` is named `NAME/test_accuracy`. The logged model is found by the folder's digest;
        without one (tracking was off then) only the runs get the figures.
        """


@dataclass(frozen=True)
class SyncReport:
    """The result of `sync`; all zero if there was nothing to do."""

    digests: int = 0  # runs that got DVC's digests of their outputs
    links: int = 0  # stages linked to the run that made their output
    ended: int = 0  # runs still marked as running although their process is gone
    unknown: tuple[str, ...] = ()  # stages whose output was made by no run of this store
    entries: int = 0  # delivered journal entries
    points: int = 0  # metric values among them
    refused: tuple[str, ...] = ()  # entries that the store will never accept, with the reason
    waiting: tuple[str, ...] = ()  # undelivered journals, with the reason
    cached: int = 0  # recorded repros that ran nothing, because all came from DVC's run-cache


def prepare() -> None:
    """Apply `SETTINGS`; must come before the import of mlflow, which reads some of them then."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)


@contextlib.contextmanager
def patient() -> Iterator[None]:
    """Wait for an MLflow server as long as a job waits (`processes.patience`), and not only briefly."""
    given = os.environ.get(RETRIES, "")
    with _retried(max(int(given) if given.isdigit() else 0, _retries(patience.allowed()))):
        yield


def asked_once(send: Callable[[], Made], made: Callable[[], Made | None]) -> Made:
    """Return what a request makes of which two would make two: MLflow repeats it if an answer is lost.

    Args:
        send: sends the request, which is not repeated blindly.
        made: looks whether it has been made; waits for the server as usual.
    """
    try:
        with _retried(0):
            return send()
    except Exception:  # noqa: BLE001  of a store, a network or a disk: what counts is what was made
        if (found := made()) is not None:
            return found
    with _retried(0):
        return send()


@contextlib.contextmanager
def _retried(times: int) -> Iterator[None]:
    before = os.environ.get(RETRIES)
    os.environ[RETRIES] = str(times)
    try:
        yield
    finally:
        os.environ.pop(RETRIES) if before is None else os.environ.update({RETRIES: before})


def _retries(seconds: float) -> int:
    """Return after how many retries MLflow has waited for so long: 0, 4, 8, … s, 120 s at most in between."""
    waited, count = 0, 1
    while waited < seconds and count < MOST_RETRIES:
        count += 1
        waited += min(2**count, 120)
    return count
