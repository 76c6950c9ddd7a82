"""`baton serve MODEL`: fetch a model, verify it, and become its server.

The server needs no activated environment, knows no store and gets no credentials. Its files are kept in the
project's state by their digest, and are verified again at each start.
"""

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from baton import storage
from baton.lifecycle import verified
from baton.lifecycle.serving.application import MODEL_CONFIG
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


def command(folder: Path, host: str, port: int) -> list[str]:
    """Return the command of the server."""
    module = "baton.lifecycle.serving.application"
    return [sys.executable, "-B", "-m", module, str(folder), host, str(port)]


def environment(given: Mapping[str, str], home: Path) -> dict[str, str]:
    """Return the environment of the server: without credentials, with its settings."""
    # glibc would keep memory for each thread that ever needed some, and blocks as large as an image.
    own = {"MALLOC_ARENA_MAX": "2", "MALLOC_MMAP_THRESHOLD_": "1048576", "MALLOC_TRIM_THRESHOLD_": "1048576"}
    own |= {MODEL_CONFIG: given[MODEL_CONFIG]} if MODEL_CONFIG in given else {}
    return clean_environment.scrubbed(given, home) | own


def become(folder: Path, host: str, port: int) -> None:
    """Replace this process by the server."""
    line = command(folder, host, port)
    os.execve(line[0], line, environment(os.environ, folder.parent))  # noqa: S606  no shell
