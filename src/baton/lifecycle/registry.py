"""The registry: the versions of one registered model, their files, and the challenger and champion aliases.

A version is made from one of Baton's logged models, which is found by the digest of the model folder. It
carries what a later verdict needs: the digests of its training rows, its `dvc.lock` and params (files of its
run, under `registry/`), its figures and a card.
"""

import contextlib
import json
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities import LoggedModel
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from baton import params, storage
from baton.contracts import task_spec
from baton.errors import DataError, ModelError, TrackingError
from baton.lifecycle import model_card, test_table
from baton.lifecycle.retraining import drift
from baton.tracking import served_inputs
from baton.tracking.store import Store
from baton.tracking.stored_models import TEACHER, TEACHER_SHA256
from baton.workspace.dvc_files import LOCK

CHALLENGER, CHAMPION = "challenger", "champion"
CLEAN = Path("data/clean")
SEED, SHA256, ROWS, PROFILE = "baton.seed", "baton.sha256", "training_rows.json", "profile.json"
MISSING = "RESOURCE_DOES_NOT_EXIST"


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
        return self.store.text(version.run_id, f"{_folder(digest)}/{file}")

    def write(self, version: ModelVersion, file: str, text: str) -> None:
        """Write a file next to those registered with a version; skip versions that Baton did not register."""
        if SHA256 not in version.tags:
            return
        self.client.log_text(str(version.run_id), text, f"{_folder(version.tags[SHA256])}/{file}")


def number(version: ModelVersion) -> str:
    """Return a version's number as a string; MLflow's SQL store gives an integer, its server a string."""
    return str(version.version)


def register(
    registry: Registry, settings: params.Promotion, challenger: bool = True
) -> tuple[ModelVersion, bool]:
    """Make a version of the model in models/; return the version, and whether it is new.

    The same model is registered once, however often this is called. It gets the alias `challenger`, unless it
    is the champion or `challenger` is false.

    Raises:
        ModelError: there is no such model.
        TrackingError: the store does not have it.
        DataError: data/clean differs from what it was trained on.
    """
    folder = Path("models", settings.model)
    if not folder.is_dir():
        raise ModelError(
            f"{folder} is missing", expected="a trained model", hint="run `make repro`, or `dvc checkout`"
        )
    digest = storage.sha256_tree(folder)
    model = _logged(registry.store, folder, digest)
    found = next((version for version in registry.versions() if version.tags.get(SHA256) == digest), None)
    version = found or _create(registry, settings, model, digest)
    if found:
        _renew_profile(registry, found, model)
    champion = registry.alias(CHAMPION)
    if challenger and (champion is None or number(champion) != number(version)):
        registry.client.set_registered_model_alias(registry.name, CHALLENGER, number(version))
    return registry.client.get_model_version(registry.name, number(version)), found is None


def _logged(store: Store, folder: Path, digest: str) -> LoggedModel:
    found = [model for model in store.models(f"tags.sha256 = '{digest}'") if model.status == "READY"]
    if not found:
        hint = (
            "run `baton sync`; if it was trained with tracking off or with another store, `dvc repro "
            "--force` trains it again"
        )
        raise TrackingError(
            f"{folder} is not in the MLflow store",
            got=f"no model with sha256 {digest[:12]}…",
            expected="one",
            hint=hint,
        )
    return found[0]


def _create(registry: Registry, settings: params.Promotion, model: LoggedModel, digest: str) -> ModelVersion:
    """Write the files first, then the version with all its tags: a version is complete or absent."""
    client, run = registry.client, registry.client.get_run(str(model.source_run_id))
    _same_data(registry.store, model)
    files = {ROWS: json.dumps(_training_rows(registry)), PROFILE: json.dumps(drift.profile(CLEAN))}
    files["params.yaml"] = params.PATH.read_text(encoding="utf-8")
    files |= {LOCK.name: LOCK.read_text(encoding="utf-8")} if LOCK.is_file() else {}
    task = task_spec.read_file(CLEAN)
    reads = served_inputs.read(storage.read_json(Path("models", settings.model, "baton.json")))
    about = model_card.describe(model, run, settings, task, reads)
    for name, text in (files | {"card.md": about}).items():
        client.log_text(run.info.run_id, text, f"{_folder(digest)}/{name}")
    with contextlib.suppress(MlflowException):  # it exists already
        client.create_registered_model(
            registry.name, description=f"Made by `baton register`; {settings.model}s of this project."
        )
    tags = {SHA256: digest, "baton.model": settings.model, "git.commit": run.data.tags.get("git.commit", "")}
    tags |= _teacher(registry.store)
    # In the list of versions; the card has more.
    shown = {f"{settings.model}/{key}" for key in model_card.headline(task)}
    trained = next(
        (metric.value for metric in model.metrics or () if metric.key == f"{settings.model}/seed"), None
    )
    tags |= {} if trained is None else {SEED: f"{trained:.0f}"}
    tags |= {
        f"figure.{metric.key}": f"{metric.value:.6g}" for metric in model.metrics or () if metric.key in shown
    }
    return client.create_model_version(
        registry.name,
        f"models:/{model.model_id}",
        run.info.run_id,
        tags={key: value for key, value in tags.items() if value},
        description=about,
        model_id=model.model_id,
    )


def _renew_profile(registry: Registry, version: ModelVersion, model: LoggedModel) -> None:
    """Write a profile with an outdated layout again, from the same data."""
    kept = registry.read(version, PROFILE)
    if kept is None or not drift.current(json.loads(kept)):
        _same_data(registry.store, model)
        registry.write(version, PROFILE, json.dumps(drift.profile(CLEAN)))


def _training_rows(registry: Registry) -> list[str]:
    """Return the digests of the rows the model was trained on, including those of a warm start's model."""
    rows, active = set(test_table.training_digests(CLEAN)), params.read()
    for base in (active.base, active.student_base):
        if not isinstance(base, params.RegisteredBase):
            continue
        earlier = Registry(registry.store, base.name)
        if (known := earlier.training_rows(earlier.version(str(base.version)))) is None:
            hint = "register that version again, or choose another base"
            raise DataError(
                f"the training data of version {base.version} of {base.name} is unknown", hint=hint
            )
        rows |= known
    return sorted(rows)


def _teacher(store: Store) -> dict[str, str]:
    """Return tags for the teacher of the same run, from which a later training run may start."""
    folder = Path("models/teacher")
    if not folder.is_dir():
        return {}
    digest = storage.sha256_tree(folder)
    return {TEACHER: str(_logged(store, folder, digest).model_id), TEACHER_SHA256: digest}


def _same_data(store: Store, model: LoggedModel) -> None:
    """Refuse to record rows of other data than the model's."""
    tags: dict[str, Any] = store.client.get_run(str(model.source_run_id)).data.tags
    for split in ("train", "val"):
        path = CLEAN / f"{split}.parquet"
        expected = tags.get(f"sha256.{path.as_posix()}")
        got = storage.sha256(path) if path.is_file() else "no file"
        if expected and got != expected:
            hint = "run `dvc checkout` or `make repro`, so that data and model match"
            raise DataError(
                f"{path} is not what the model was trained on", got=got, expected=expected, hint=hint
            )


def _folder(digest: str) -> str:
    return f"registry/{digest[:12]}"
