"""Fetch a training run's starting point from the registry."""

from pathlib import Path

import mlflow.artifacts
from mlflow.exceptions import MlflowException

from baton import params
from baton.errors import TrackingError
from baton.tracking.store import open_store, usable

# Tags of a version: the logged model, and its folder's digest.
TEACHER, TEACHER_SHA256 = "baton.teacher", "baton.teacher_sha256"


def teacher(settings: params.MlflowTracking, name: str, version: int, target: Path) -> Path:
    """Fetch a teacher: see `baton.tracking.registered_teacher`."""
    store = open_store(settings)
    with usable(store.client.tracking_uri):
        try:
            found = store.client.get_model_version(name, str(version))
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            raise TrackingError(
                f"models:/{name}/{version} is not in the registry",
                expected="a version that `baton register` made",
            ) from None
        if TEACHER not in found.tags:
            hint = "use a version that was registered together with its teacher"
            raise TrackingError(
                f"models:/{name}/{version} names no teacher", got=f"no tag {TEACHER}", hint=hint
            )
        mlflow.set_tracking_uri(store.client.tracking_uri)
        fetched = mlflow.artifacts.download_artifacts(f"models:/{found.tags[TEACHER]}", dst_path=str(target))
        return Path(fetched) / "artifacts" / "teacher"  # the model folder has this name
