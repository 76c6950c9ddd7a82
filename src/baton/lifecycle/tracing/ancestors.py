"""Base models that were trained here themselves: where each came from, and its own base, to any depth.

A base model is pinned by the digest of its model folder, which exists before the run that starts from it. So
no chain can return to its beginning; each model is described once.
"""

import json
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mlflow.entities import LoggedModel
from mlflow.exceptions import MlflowException

from baton import params, storage
from baton.contracts import base_manifest
from baton.errors import TrackingError, first_line
from baton.lifecycle.registry import DENIED, MISSING
from baton.lifecycle.tracing import upstream
from baton.lifecycle.tracing.target import Found, Node, of_model
from baton.sources import trained_models
from baton.tracking import environment, stored_models
from baton.tracking.store import Store
from baton.workspace import dvc_graph
from baton.workspace.dvc_graph import Graph

# Section of params -> the stages that read it, and its folder in data/base.
SECTIONS = {
    "base": ({"tokenize", "finetune"}, ""),
    "student_base": ({"distill", "evaluate"}, f"{storage.STUDENT}/"),
}


@dataclass(frozen=True)
class Base:
    """A base model that was trained here."""

    named: str
    sha256: str  # of its model folder
    stored: params.LoggedBase | None = None  # how params name it, if they name a store


def of(store: Store, found: Found, stages: set[str], breaks: list[str]) -> list[Node]:
    """Return the base models behind a target, the nearest first, each with what it was made of.

    Args:
        store: the store.
        found: the target.
        stages: those behind it.
        breaks: is added to: what is not known about them.
    """
    todo = deque((base, found.node.name) for base in bases(store, found, stages))
    seen, nodes = set[str](), list[Node]()
    while todo:
        base, above = todo.popleft()
        if base.sha256 in seen:
            continue
        seen.add(base.sha256)
        nodes.append(Node("base", base.named, {"sha256": base.sha256, "of": above}))
        own: list[str] = []
        if made := behind(store, base, own):
            nodes[-1].children.append(made.node)
            own += made.breaks
            visited = _grow(store, made, own)
            todo.extend((other, base.named) for other in bases(store, made, visited))
        breaks += [f"base model {base.named}: {text}" for text in own]
    return nodes


def _grow(store: Store, made: Found, breaks: list[str]) -> set[str]:
    if made.lock is None:
        breaks.append("no dvc.lock of it is known: its data, params and code cannot be traced")
        return set()
    stages = upstream.grow(store, made, made.lock, breaks)
    breaks += made.lock.broken(stages)
    return stages


def bases(store: Store, found: Found, stages: set[str]) -> Iterator[Base]:
    """Yield the base models of a target that were trained.

    `stages` are those behind it; without a `dvc.lock`, they are the base models that its run noted.
    """
    if found.lock is None:
        runs = [node.facts["id"] for node in found.node.all() if node.kind == "run"]
        tags = store.client.get_run(runs[-1]).data.tags if runs else {}
        for tag in environment.BASES:
            yield from (Base(digest, digest) for digest in tags.get(tag, "").split())
        return
    for section, (readers, folder) in SECTIONS.items():
        where = stages & readers or ({"download"} if upstream.BASE in found.outs else set())
        for stage in sorted(where)[:1]:
            yield from _of_section(found.lock, section, stage, folder)


def _of_section(lock: Graph, section: str, stage: str, folder: str) -> Iterator[Base]:
    """Yield the models that a base model, as a stage read it, was taken from.

    Its manifest says so, or params if DVC's cache here lacks it.
    """
    digest = (lock.deps(stage) | lock.outs(stage)).get(upstream.BASE, "")
    text = dvc_graph.file_of(digest, f"{folder}manifest.json")
    manifest: dict[str, Any] = json.loads(text) if text else {"base": _params(lock, section)}
    match manifest["base"].get("kind"):
        case "registered":
            stored: params.LoggedBase | None = params.RegisteredBase.model_validate(manifest["base"])
        case "run":
            stored = params.RunBase.model_validate(manifest["base"])
        case None:
            return
        case _:
            stored = None
    named = trained_models.named(stored) if stored else str(manifest.get("origin", ""))
    for model in base_manifest.ancestors(manifest):
        yield Base(named, model, stored)


def _params(lock: Graph, section: str) -> dict[str, Any]:
    flat = lock.params("download") if "download" in lock.stages else {}
    start = f"{section}."
    return {key.removeprefix(start): value for key, value in flat.items() if key.startswith(start)}


def behind(store: Store, base: Base, breaks: list[str]) -> Found | None:
    """Return the model behind a base; None, with a reason in `breaks`, if this store does not know it."""
    model = _logged(store, base, breaks)
    try:
        return of_model(store, model) if model else None
    except MlflowException as error:
        if error.error_code not in {MISSING, DENIED}:
            raise
        breaks.append(f"its run {model and model.source_run_id} is no longer in this store")
        return None


def _logged(store: Store, base: Base, breaks: list[str]) -> LoggedModel | None:
    """Return the logged model that params name, or else one with the same digest."""
    told = "no model with its digest"
    if base.stored:
        try:
            model = stored_models.find(store, base.stored)
            if model.tags.get("sha256") == base.sha256:
                return model
            told = "it is another model now"
        except TrackingError as error:
            told = first_line(error)
        except MlflowException as error:
            if error.error_code != DENIED:
                raise
            told = "it is not there, or this user may not see it"
    if same := store.models(f"tags.sha256 = '{base.sha256}'"):
        if base.stored:
            breaks.append(f"{told}; run {same[0].source_run_id} made the same bytes")
        return same[0]
    breaks.append(f"it is not in this store ({told}): where it came from cannot be traced")
    return None
