"""The files of a logged model, fetched and compared with the digest that was recorded of them.

A logged model is code: MLflow runs its `pyfunc.py`, and its file `MLmodel` says what else is run. Whoever can
write to the artifact store could change it. So the digest of its whole folder is kept in MLflow's database,
as a tag of the logged model and of its registered versions, and everything of this project that loads a
model fetches a copy here first. Byte-code that an earlier load left beside the code is not taken over.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path

import mlflow.artifacts
from mlflow.tracking import MlflowClient

from baton import storage
from baton.errors import ModelError

FILES_SHA256 = "baton.files_sha256"  # the tag: `storage.sha256_tree` of the folder that MLflow keeps
OWN = "registered_model_meta"  # MLflow writes it to the root of what it fetches; it names the version
CACHE = "__pycache__"


def digest(folder: Path) -> str:
    """Return the digest of a folder as `fetch` leaves it."""
    return storage.sha256_tree(folder)


def fetch(client: MlflowClient, uri: str, target: Path) -> Path:
    """Fetch the files of `models:/…` into `target`, an empty or absent folder; return the model's folder.

    Nothing of it is run. Links and byte-code are left out.
    """
    mlflow.set_tracking_uri(client.tracking_uri)
    mlflow.set_registry_uri(client.tracking_uri)
    target.mkdir(parents=True, exist_ok=True)
    folder = Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(target)))
    (folder / OWN).unlink(missing_ok=True)
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            path.unlink()
        elif path.name == CACHE and path.is_dir():
            shutil.rmtree(path)
    return folder


def check(folder: Path, tags: Mapping[str, str], named: str) -> None:
    """Refuse fetched files that are not those whose digest the tags of a version or logged model have.

    Raises:
        ModelError: they differ, or the tags have no digest.
    """
    require(tags, named)
    got = digest(folder)
    if got != tags[FILES_SHA256]:
        raise ModelError(
            f"the files of {named} are not those that were recorded: nothing of them was run",
            got=f"sha256 {got}",
            expected=f"sha256 {tags[FILES_SHA256]}",
            hint="find out who changed the artifact store; restore the files, or train and register the "
            "model again",
        )


def require(tags: Mapping[str, str], named: str) -> None:
    """Refuse a model without a digest.

    Raises:
        ModelError: the tags have none.
    """
    if FILES_SHA256 not in tags:
        raise ModelError(
            f"{named} has no digest of its files",
            got=f"no tag {FILES_SHA256}: an earlier version of Baton registered it",
            expected="the sha256 of its folder, without which its code is not run",
            hint=f"`baton verify {named} --record` records the files as they are now, if you trust the "
            "artifact store; otherwise train and register it again",
        )
