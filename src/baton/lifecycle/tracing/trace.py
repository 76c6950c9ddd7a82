"""`baton trace`: show the origin of something and what was made from it, and where the chain is broken.

The chain spans DVC, git and MLflow. Input: a run, a model, a registered version or alias, a project file or
folder, or a commit. Output, also as JSON: what it was made of (stages with params and code, data, raw files
with origin and sha256), the base models that were trained here, what was made from it (stages, runs, models,
versions), and the runs that took it, or what was made from it, as their base model.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from baton.lifecycle.tracing import ancestors, downstream, upstream
from baton.lifecycle.tracing.target import Found, Node, resolve
from baton.tracking.store import Store
from baton.workspace import dvc_files, dvc_graph
from baton.workspace.dvc_graph import Graph


@dataclass
class Trace:
    """The result of a trace."""

    asked: str
    made_of: Node
    made_from_it: list[Node]
    breaks: list[str]
    ancestors: list[Node] = field(default_factory=list)  # base models that were trained, nearest first
    descendants: list[Node] = field(default_factory=list)  # runs that started from it, nearest first


def trace(store: Store, asked: str, here: Path) -> Trace:
    """Follow the chain in both directions, through any number of base models.

    Args:
        store: the store.
        asked: a run, a model, a version, a file or folder, or a commit.
        here: the folder that file names are relative to.

    Raises:
        DataError: nothing of that name is known.
    """
    found = resolve(store, asked, here)
    breaks, used = list(found.breaks), found.used
    stages: set[str] = set()
    if found.lock is None:
        breaks.append("no dvc.lock of it is known: its data, params and code cannot be traced")
    else:
        stages = upstream.grow(store, found, found.lock, breaks)
        used = used + list(downstream.within(store, found.lock, found.outs))
        breaks += [*found.lock.broken(), *_changed(found.lock, found.outs)]
    before = ancestors.of(store, found, stages, breaks)
    after = downstream.descendants(store, _digests(found, used))
    return Trace(asked, found.node, used, breaks, before, after)


def _digests(found: Found, used: list[Node]) -> list[str]:
    """Return the digests of the target's models and of those made from it, each once."""
    made = (node.facts["sha256"] for top in used for node in top.all() if node.kind == "model")
    return [*dict.fromkeys((*found.digests, *made))]


def _changed(lock: Graph, outs: list[str]) -> Iterator[str]:
    """Yield what has changed since: the working tree's `dvc.lock` and DVC's cache."""
    now = dvc_graph.of_workspace()
    made = {out: lock.outs(stage)[out] for stage, out in filter(None, map(lock.made, outs))}
    current = {out: digest for stage in now.stages for out, digest in now.outs(stage).items()} if now else {}
    other = [
        f"{out} ({digest[:8]}, now {current.get(out, 'unknown')[:8]})"
        for out, digest in made.items()
        if current.get(out) != digest
    ]
    if other:
        yield f"dvc.lock of the working tree has changed since: {', '.join(other)}"
    in_git = {path for paths in dvc_files.outputs(["metrics"]).values() for path in paths}
    if lost := [
        f"{out} ({digest[:8]})"
        for out, digest in made.items()
        if out not in in_git and not dvc_graph.cached(digest)
    ]:
        yield (
            f"DVC's cache here lacks {', '.join(lost)}: `dvc pull` gets what a remote has for the working "
            "tree's dvc.lock"
        )


def as_json(found: Trace) -> str:
    """Return the whole trace as JSON, including params and digests."""
    return json.dumps(asdict(found), indent=2)
