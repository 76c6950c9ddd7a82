"""`baton register`: make a version of the registry from the trained model.

It is made from one of Baton's logged models, which is found by the digest of the model folder.
"""

import contextlib
import json
import tempfile
from pathlib import Path
from typing import Any

from mlflow.entities import LoggedModel
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from baton import params, storage, tracking
from baton.contracts import task_spec
from baton.errors import DataError, ModelError, TrackingError
from baton.lifecycle import adoption, evaluated_cards, model_card, training_rows
from baton.lifecycle.registry import (
    CHALLENGER,
    CHAMPION,
    CLEAN,
    PROFILE,
    ROWS,
    SEED,
    SHA256,
    Registry,
    folder,
    number,
)
from baton.lifecycle.retraining import drift
from baton.tracking import model_files, served_inputs
from baton.tracking.model_files import FILES_SHA256
from baton.tracking.store import Store
from baton.tracking.stored_models import TEACHER, TEACHER_SHA256
from baton.workspace.dvc_files import LOCK


def register(
    registry: Registry, settings: params.Promotion, challenger: bool = True
) -> tuple[ModelVersion, bool]:
    """Make a version of the model in models/; return the version, and whether it is new.

    The same model is registered once, however often this is called. It gets the alias `challenger`, unless it
    is the champion or `challenger` is false.

    Raises:
        ModelError: there is no such model.
        TrackingError: the store does not have it.
        ModelError: its files in the store are not those that were logged.
        DataError: data/clean differs from what it was trained on.
    """
    source = Path("models", settings.model)
    if not source.is_dir():
        raise ModelError(
            f"{source} is missing", expected="a trained model", hint="run `baton repro`, or `dvc checkout`"
        )
    digest = storage.sha256_tree(source)
    model = _logged(registry.store, source, digest)
    found = _found(registry, digest)
    version = found or _create(registry, settings, model, digest)
    if found:
        _renew_profile(registry, found, model)
        _add_cards(registry, settings, found, model, digest)
    champion = registry.alias(CHAMPION)
    if challenger and (champion is None or number(champion) != number(version)):
        registry.client.set_registered_model_alias(registry.name, CHALLENGER, number(version))
    return registry.client.get_model_version(registry.name, number(version)), found is None


def _ready(store: Store, digest: str) -> list[LoggedModel]:
    return [model for model in store.models(f"tags.sha256 = '{digest}'") if model.status == "READY"]


def _logged(store: Store, source: Path, digest: str) -> LoggedModel:
    """Return the store's model of this digest; a store without one gets it from `dvc.lock` if possible."""
    found = _ready(store, digest) or (_ready(store, digest) if adoption.adopt() else [])
    if not found:
        hint = (
            "run `baton sync`; a model of another store can be registered if dvc.lock describes it: "
            "`dvc checkout`, or `dvc repro` if params or code have changed"
        )
        raise TrackingError(
            f"{source} is not in the MLflow store",
            got=f"no model with sha256 {digest[:12]}…",
            expected="one",
            hint=hint,
        )
    return found[0]


def _create(registry: Registry, settings: params.Promotion, model: LoggedModel, digest: str) -> ModelVersion:
    """Write the files first, then the version with all its tags: a version is complete or absent."""
    client, run = registry.client, registry.client.get_run(str(model.source_run_id))
    _same_data(registry.store, model)
    rows = training_rows.of_checkout(registry.store, params.read())
    files = {ROWS: json.dumps(rows), PROFILE: json.dumps(drift.profile(CLEAN))}
    files["params.yaml"] = params.PATH.read_text(encoding="utf-8")
    files |= {LOCK.name: LOCK.read_text(encoding="utf-8")} if LOCK.is_file() else {}
    task = task_spec.read_file(CLEAN)
    reads = served_inputs.read(storage.read_json(Path("models", settings.model, "baton.json")))
    origin = model_card.origin(model, run, settings, task, reads)
    cards = evaluated_cards.read(settings.model, digest, origin)
    about = model_card.describe(model, run, settings, task, reads) + evaluated_cards.said(
        cards, folder(digest)
    )
    for name, text in (files | cards | {"card.md": about}).items():
        client.log_text(run.info.run_id, text, f"{folder(digest)}/{name}")
    with contextlib.suppress(MlflowException):  # it exists already
        client.create_registered_model(
            registry.name, description="Made by `baton register`; models of this project."
        )
    tags = {SHA256: digest, FILES_SHA256: _files(registry.store, model, digest)}
    tags |= {"baton.model": settings.model, "git.commit": run.data.tags.get("git.commit", "")}
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

    def send() -> ModelVersion:
        return client.create_model_version(
            registry.name,
            f"models:/{model.model_id}",
            run.info.run_id,
            tags={key: value for key, value in tags.items() if value},
            description=about,
            model_id=model.model_id,
        )

    return tracking.asked_once(send, lambda: _found(registry, digest))


def _found(registry: Registry, digest: str) -> ModelVersion | None:
    return next((version for version in registry.versions() if version.tags.get(SHA256) == digest), None)


def _files(store: Store, model: LoggedModel, digest: str) -> str:
    """Return the digest of all files of a logged model, which later loads are compared with.

    Raises:
        ModelError: they are not those that were logged, or its model folder has another digest.
    """
    named = f"models:/{model.model_id}"
    with tempfile.TemporaryDirectory() as name:
        files = model_files.fetch(store.client, named, Path(name, "model"))
        if FILES_SHA256 in model.tags:
            model_files.check(files, model.tags, named)
        got = storage.sha256_tree(files / "artifacts" / Path(model.tags["path"]).name)
        if got != digest:
            hint = "find out who changed the artifact store, then train the model again"
            raise ModelError(f"the model folder of {named} was changed", got=got, expected=digest, hint=hint)
        return model_files.digest(files)


def _renew_profile(registry: Registry, version: ModelVersion, model: LoggedModel) -> None:
    """Write a profile with an outdated layout again, from the same data."""
    kept = registry.read(version, PROFILE)
    if kept is None or not drift.current(json.loads(kept)):
        _same_data(registry.store, model)
        registry.write(version, PROFILE, json.dumps(drift.profile(CLEAN)))


def _add_cards(
    registry: Registry, settings: params.Promotion, version: ModelVersion, model: LoggedModel, digest: str
) -> None:
    """Add the cards of a version that was registered before `evaluate` ran."""
    if registry.read(version, evaluated_cards.MODEL_CARD) is not None:
        return
    run = registry.client.get_run(str(model.source_run_id))
    task = task_spec.read_file(CLEAN)
    reads = served_inputs.read(storage.read_json(Path("models", settings.model, "baton.json")))
    origin = model_card.origin(model, run, settings, task, reads)
    cards = evaluated_cards.read(settings.model, digest, origin)
    for name, text in cards.items():
        registry.write(version, name, text)
    if cards:
        none = evaluated_cards.said({}, folder(digest))
        told, before = evaluated_cards.said(cards, folder(digest)), str(version.description or "")
        told = before.replace(none, told) if none in before else f"{before}\n\n{told}"
        registry.client.update_model_version(registry.name, number(version), told)


def _teacher(store: Store) -> dict[str, str]:
    """Return tags for the teacher of the same run, from which a later training run may start."""
    source = Path("models/teacher")
    if not source.is_dir():
        return {}
    digest = storage.sha256_tree(source)
    return {TEACHER: str(_logged(store, source, digest).model_id), TEACHER_SHA256: digest}


def _same_data(store: Store, model: LoggedModel) -> None:
    """Refuse to record rows of other data than the model's."""
    tags: dict[str, Any] = store.client.get_run(str(model.source_run_id)).data.tags
    for split in ("train", "val"):
        path = CLEAN / f"{split}.parquet"
        expected = tags.get(f"sha256.{path.as_posix()}")
        got = storage.sha256(path) if path.is_file() else "no file"
        if expected and got != expected:
            hint = "run `dvc checkout` or `baton repro`, so that data and model match"
            raise DataError(
                f"{path} is not what the model was trained on", got=got, expected=expected, hint=hint
            )
