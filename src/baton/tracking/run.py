"""What a stage can tell of its run, what `sync` reports, and MLflow's settings. No mlflow."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

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


def prepare() -> None:
    """Apply `SETTINGS`: must come before mlflow is imported, which reads some of them then."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
