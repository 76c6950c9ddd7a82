"""The rows that a model was trained on, those of its base models among them.

A model that started from another one has seen the rows of both: the gate must find test rows among all of
them. A registered version keeps its rows; those of a run's model are read from `data/clean` of that run, in
DVC's cache.
"""

import shutil
import tempfile
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from baton import console, params
from baton.errors import DataError
from baton.lifecycle import test_table
from baton.lifecycle.registry import CLEAN, Registry
from baton.lifecycle.tracing import ancestors, upstream
from baton.lifecycle.tracing.ancestors import Base
from baton.sources import trained_models
from baton.tracking.store import Store
from baton.workspace import dvc_graph
from baton.workspace.dvc_graph import Graph


def of_checkout(store: Store, active: params.Params) -> list[str]:
    """Return the sorted digests of the rows of data/clean and of all base models of the params.

    Raises:
        DataError: the rows of a base model are unknown.
    """
    rows, todo, seen = set(test_table.training_digests(CLEAN)), deque(_first(active)), set[str]()
    while todo:
        base = todo.popleft()
        if base.sha256 not in seen:
            seen.add(base.sha256)
            own, before = _of_base(store, base)
            rows |= own
            todo.extend(before)
    return sorted(rows)


def _first(active: params.Params) -> Iterator[Base]:
    """Yield the base models of the params that were trained."""
    for base in (active.base, active.student_base):
        match base:
            case params.RegisteredBase() | params.RunBase():
                yield Base(trained_models.named(base), base.sha256, base)
            case params.LocalBase() | params.ImageTextBase():
                named = base.folder if isinstance(base, params.LocalBase) else "in inbox/"
                yield from (Base(named, digest) for digest in trained_models.digests(base))
            case _:
                continue


def _of_base(store: Store, base: Base) -> tuple[set[str], list[Base]]:
    """Return the rows of a base model, and the base models whose rows are not among them."""
    if isinstance(base.stored, params.RegisteredBase):
        earlier = Registry(store, base.stored.name)
        known = earlier.training_rows(earlier.version(str(base.stored.version)))
        if known is None:
            raise _unknown(base, "a version that `baton register` did not make")
        return set(known), []
    breaks: list[str] = []
    made = ancestors.behind(store, base, breaks)
    if made is None and base.stored is None:  # it may be of another project
        console.warn("register", f"the training data of the base model {base.named} is unknown: {breaks[0]}")
        return set(), []
    if made is None or made.lock is None:
        raise _unknown(base, "; ".join(breaks) or "no dvc.lock of its run")
    stages = upstream.grow(store, made, made.lock, breaks)
    return _of_lock(made.lock, stages, base), [*ancestors.bases(store, made, stages)]


def _of_lock(lock: Graph, stages: set[str], base: Base) -> set[str]:
    """Return the rows of data/clean as the stages of a `dvc.lock` read it, from DVC's cache."""
    read = (lock.deps(stage).get(CLEAN.as_posix()) for stage in sorted(stages))
    digest = next(filter(None, read), "")
    files = {name: path for name, path in dvc_graph.files_of(digest).items() if path.is_file()}
    if not {f"{split}.parquet" for split in test_table.TRAINED_ON} <= files.keys():
        raise _unknown(base, f"{CLEAN} ({digest[:8]}) is not in DVC's cache here")
    with tempfile.TemporaryDirectory() as name:
        for file, path in files.items():
            if file.endswith(".json") or Path(file).stem in test_table.TRAINED_ON:
                Path(name, file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, Path(name, file))
        return set(test_table.training_digests(Path(name)))


def _unknown(base: Base, got: str) -> DataError:
    return DataError(
        f"the training data of the base model {base.named} is unknown",
        got=got,
        expected="its rows, since a test row among them would count as new",
        hint="run `dvc pull` at the commit that trained it, or name a registered version as the base",
    )
