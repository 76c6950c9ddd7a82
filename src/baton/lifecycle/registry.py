"""The registry: the versions of one registered model, their files, and the challenger and champion aliases.

A version carries what a later verdict needs: the digests of its training rows, its `dvc.lock` and params
(files of its run, under `registry/`), its figures and a card. `registration` makes versions.
"""

import json
import time
from pathlib import Path

import mlflow
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from baton.errors import ModelError
from baton.tracking.store import Store

CHALLENGER, CHAMPION = "challenger", "champion"
CLEAN = Path("data/clean")
SEED, SHA256, ROWS, PROFILE = "baton.seed", "baton.sha256", "training_rows.json", "profile.json"
MISSING = "RESOURCE_DOES_NOT_EXIST"
DENIED = "PERMISSION_DENIED"  # what a server with logins also answers about something that is not there
GATE = "gate."  # prefix of the tags that the gate writes to a version
PROMOTED, ROLLED_BACK = "promoted", "rolled_back"  # the value of `gate.verdict`; a tag


class Registry:
    """One registered model."""

    def __init__(self, store: Store, name: str) -> None:
        """Wrap a registered model, which need not exist yet."""
        self.store, self.client, self.name = store, store.client, name
        # MLflow's SQL registry looks up a version's model in the global store of the process.
        mlflow.set_tracking_uri(store.client.tracking_uri)
        mlflow.set_registry_uri(store.client.tracking_uri)

    def uri(self, version: ModelVersion) -> str:
        """Return the URI of a version for `mlflow.pyfunc.load_model`."""
        return f"models:/{self.name}/{number(version)}"

    def alias(self, name: str) -> ModelVersion | None:
        """Return the version with this alias, or None."""
        try:
            return self.client.get_model_version_by_alias(self.name, name)
        except MlflowException as error:
            if error.error_code in {MISSING, "INVALID_PARAMETER_VALUE"}:  # no such model, no such alias
                return None
            if error.error_code == DENIED and not self.client.search_registered_models(
                f"name = '{self.name}'"
            ):
                return None
            raise

    def version(self, wanted: str) -> ModelVersion:
        """Return a version by its number.

        Raises:
            ModelError: there is no such version.
        """
        found = {number(version): version for version in self.versions()}
        if wanted not in found:
            known = ", ".join(sorted(found, key=int)) or "no versions"
            raise ModelError(
                f"{self.name} has no version {wanted}", got=wanted, expected=known, hint="choose one of these"
            )
        return found[wanted]

    def versions(self) -> list[ModelVersion]:
        """Return all versions."""
        found: list[ModelVersion] = []
        token = None
        while True:
            page = self.client.search_model_versions(f"name = '{self.name}'", page_token=token)
            found += page
            token = page.token
            if not token:
                return found

    def training_rows(self, version: ModelVersion) -> frozenset[str] | None:
        """Return the digests of the rows that a version was trained on, or None if they are unknown."""
        text = self.read(version, ROWS)
        return None if text is None else frozenset(json.loads(text))

    def read(self, version: ModelVersion, file: str) -> str | None:
        """Return a file that was registered with a version, or None if it does not exist."""
        digest = version.tags.get(SHA256)
        if not digest or not version.run_id:
            return None
        return self.store.text(version.run_id, f"{folder(digest)}/{file}")

    def write(self, version: ModelVersion, file: str, text: str) -> None:
        """Write a file next to those registered with a version; skip versions that Baton did not register."""
        if SHA256 not in version.tags:
            return
        self.client.log_text(str(version.run_id), text, f"{folder(version.tags[SHA256])}/{file}")


def number(version: ModelVersion) -> str:
    """Return a version's number as a string; MLflow's SQL store gives an integer, its server a string."""
    return str(version.version)


def folder(digest: str) -> str:
    """Return the folder, among a run's files, of those registered with the version of a model's digest."""
    return f"registry/{digest[:12]}"


def now() -> str:
    """Return the time as tags and reports show it."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
