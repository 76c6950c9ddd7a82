"""`baton serve MODEL`: fetch a model, verify it, and become its server.

The server needs no activated environment, knows no store and gets no credentials. Its files are kept in the
project's state by their digest, and are verified again at each start.
"""

import json
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from baton import storage, tracking
from baton.contracts import task_spec
from baton.errors import ParamsError
from baton.lifecycle import verified
from baton.lifecycle.registry import SHA256
from baton.lifecycle.serving import answers
from baton.lifecycle.serving.application import ABOUT, MODEL_CONFIG
from baton.processes import clean_environment
from baton.tracking import model_files
from baton.tracking.store import Store

SERVED = "served"  # in the project's state


def prepared(store: Store, uri: str) -> Path:
    """Return the verified files of a model, fetched if this project does not have them yet.

    Raises:
        ModelError: they are not those that were recorded, no digest was recorded, or there is no such model.
    """
    model = verified.named(store, uri)
    model_files.require(model.tags, model.uri)
    folder = storage.state(SERVED) / model.tags[model_files.FILES_SHA256]
    if folder.is_dir():
        for path in sorted(folder.rglob(model_files.CACHE)):
            shutil.rmtree(path)
        if model_files.digest(folder) == folder.name:
            return folder
        shutil.rmtree(folder)
    verified.verify(store, uri, record=False, out=folder)
    return folder


def about(store: Store, uri: str, abstain_below: float | None) -> dict[str, Any]:
    """Return what every answer of the server says: the model's name, version and digest, and the threshold.

    Raises:
        ModelError: there is no such model.
    """
    model = verified.named(store, uri)
    _, _, rest = model.uri.partition("models:/")
    name, _, version = rest.partition("/")
    known = {"name": name, "version": version} if version else {"id": name}
    sha256 = {"sha256": model.tags[SHA256]} if SHA256 in model.tags else {}
    return {"model": known | sha256} | ({} if abstain_below is None else {answers.ABSTAIN: abstain_below})


def check_abstention(folder: Path) -> None:
    """Refuse a threshold for a model whose answers have no probabilities.

    Raises:
        ParamsError: its task has none.
    """
    path = next(folder.glob("artifacts/**/baton.json"))
    kind = task_spec.read(storage.read_json(path)).kind
    if kind not in {"classes", "labels"}:
        raise ParamsError(
            "--abstain-below needs probabilities",
            got=f"a model of the task {kind}",
            expected="one of classes or labels",
            hint="leave the option out",
        )


def command(folder: Path, host: str, port: int) -> list[str]:
    """Return the command of the server."""
    module = "baton.lifecycle.serving.application"
    return [sys.executable, "-B", "-m", module, str(folder), host, str(port)]


def environment(
    given: Mapping[str, str], home: Path, said: Mapping[str, Any] | None = None
) -> dict[str, str]:
    """Return the environment of the server: without credentials, with its settings, and what answers say."""
    # glibc would keep memory for each thread that ever needed some, and blocks as large as an image.
    own = {"MALLOC_ARENA_MAX": "2", "MALLOC_MMAP_THRESHOLD_": "1048576", "MALLOC_TRIM_THRESHOLD_": "1048576"}
    own |= tracking.SETTINGS | {ABOUT: json.dumps(said or {})}
    own |= {MODEL_CONFIG: given[MODEL_CONFIG]} if MODEL_CONFIG in given else {}
    return clean_environment.scrubbed(given, home) | own


def become(folder: Path, host: str, port: int, said: Mapping[str, Any]) -> None:
    """Replace this process by the server; `said` is what `about` returns."""
    line = command(folder, host, port)
    os.execve(line[0], line, environment(os.environ, folder.parent, said))  # noqa: S606  no shell
