"""A cache of slow measurements, keyed by everything that they depend on.

It lies outside the stages' outputs, which DVC removes before a run, so a rerun after an edit to a plot takes
seconds.

Inputs: a kind, and everything the result depends on -> the result, from the project's `.baton/KIND/` or
measured now.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baton import storage

Arrays = dict[str, NDArray[Any]]


def place(kind: str, known: Mapping[str, Any], ending: str) -> Path:
    """Return the path of a result that depends on `known` (JSON values)."""
    return (
        storage.state(kind)
        / f"{hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()}{ending}"
    )


def arrays(kind: str, known: Mapping[str, Any], make: Callable[[], Arrays]) -> Arrays:
    """Return named arrays from the cache, or else from `make`."""
    path = place(kind, known, ".npz")
    if kept := storage.read_state_arrays(path):
        return kept
    made = make()
    with storage.atomic_file(path) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **made)
    return storage.read_state_arrays(path)


def figures(kind: str, known: Mapping[str, Any], make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return figures from the cache, or else from `make`."""
    path = place(kind, known, ".json")
    if kept := storage.read_state(path):
        return kept
    storage.write_json(path, make())
    return storage.read_state(path)
