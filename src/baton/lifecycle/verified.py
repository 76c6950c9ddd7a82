"""Registered models whose files are verified before anything of them is run; `baton verify`.

Input: `models:/NAME/VERSION`, `models:/NAME@ALIAS` or `models:/MODEL_ID` -> its files, if their digest is the
one that registration (or logging, for a model by its id) recorded.
"""

import contextlib
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from baton import storage
from baton.errors import ModelError, OutputError
from baton.lifecycle.registry import CHAMPION, DENIED, MISSING, SHA256, Registry, number
from baton.tracking import model_files
from baton.tracking.model_files import FILES_SHA256
from baton.tracking.store import Store

BY_ID = re.compile(r"models:/(m-[0-9a-f]+)")
BY_NAME = re.compile(r"models:/([^/@]+)(?:/([0-9]+)|@([^/@]+))")


@dataclass(frozen=True)
class Named:
    """A model of the store, as it is asked for on the command line."""

    uri: str  # without an alias, which may move
    tags: Mapping[str, str]
    record: Callable[[str], None]  # set the tag with the digest of its files


@contextlib.contextmanager
def fetched(registry: Registry, version: ModelVersion) -> Iterator[Path]:
    """Yield the verified files of a version, in a temporary folder.

    Raises:
        ModelError: they are not those that were registered, or no digest was recorded.
    """
    uri = registry.uri(version)
    model_files.require(version.tags, uri)
    with tempfile.TemporaryDirectory() as name:
        folder = model_files.fetch(registry.client, uri, Path(name, "model"))
        model_files.check(folder, version.tags, uri)
        yield folder


def load(registry: Registry, version: ModelVersion) -> Any:
    """Return a version's model, loaded from verified files.

    Raises:
        ModelError: as `fetched`.
    """
    import mlflow.pyfunc

    with fetched(registry, version) as folder:
        return mlflow.pyfunc.load_model(str(folder))


def check_champion(registry: Registry) -> None:
    """Refuse a champion without a digest: the gate would not run it, hours later.

    Raises:
        ModelError: it has none.
    """
    champion = registry.alias(CHAMPION)
    if champion is not None:
        model_files.require(champion.tags, registry.uri(champion))


def verify(store: Store, uri: str, record: bool, out: Path | None) -> str:
    """Compare the files of a model with their recorded digest; return what was found, in words.

    Args:
        store: the store.
        uri: the model.
        record: whether to record the digest of the files as they are, if there is none.
        out: a folder to create, which gets the verified files.

    Raises:
        ModelError: they differ, there is no digest, or no such model.
        OutputError: `out` exists.
    """
    if out is not None and out.exists():
        hint = "choose a folder that does not exist"
        raise OutputError(f"{out} exists", expected="a folder to create", hint=hint)
    model = named(store, uri)
    with tempfile.TemporaryDirectory() as name:
        folder = model_files.fetch(store.client, model.uri, Path(name, "model"))
        done = "verified"
        if record and FILES_SHA256 not in model.tags:
            _check_weights(folder, model)
            model.record(model_files.digest(folder))
            done = "recorded"
        else:
            model_files.check(folder, model.tags, model.uri)
        count = sum(path.is_file() for path in folder.rglob("*"))
        text = f"{done}: {count} files of {model.uri}, sha256 {model_files.digest(folder)}"
        if out is not None:
            with storage.atomic_folder(out) as temporary:
                shutil.copytree(folder, temporary, dirs_exist_ok=True)
        return text


def named(store: Store, uri: str) -> Named:
    """Return the model of the store that has this address.

    Raises:
        ModelError: it has no such model, or this is no such address.
    """
    client = store.client
    try:
        if match := BY_ID.fullmatch(uri):
            model = client.get_logged_model(match[1])
            return Named(
                uri,
                model.tags,
                lambda digest: client.set_logged_model_tags(model.model_id, {FILES_SHA256: digest}),
            )
        if match := BY_NAME.fullmatch(uri):
            name, wanted, alias = match.groups()
            found = client.get_model_version_by_alias(name, alias) if alias else None
            version = found or client.get_model_version(name, wanted)
            own = number(version)
            return Named(
                f"models:/{name}/{own}",
                version.tags,
                lambda digest: client.set_model_version_tag(name, own, FILES_SHA256, digest),
            )
    except MlflowException as error:
        if error.error_code not in {MISSING, DENIED, "INVALID_PARAMETER_VALUE"}:
            raise
    raise ModelError(
        f"there is no model {uri} in this store",
        got=store.client.tracking_uri,
        expected="models:/NAME/VERSION, models:/NAME@ALIAS or models:/MODEL_ID",
        hint="`baton ui` shows the registered models",
    )


def _check_weights(folder: Path, model: Named) -> None:
    """Refuse to record files whose model folder is not the one that was registered, if that is known."""
    expected = model.tags.get(SHA256) or model.tags.get("sha256")
    found = [storage.sha256_tree(path) for path in (folder / "artifacts").glob("*") if path.is_dir()]
    if expected and expected not in found:
        raise ModelError(
            f"the model folder of {model.uri} is not the one that was registered: nothing was recorded",
            got=", ".join(found) or "no model folder",
            expected=expected,
            hint="find out who changed the artifact store, then train and register the model again",
        )
