"""`baton trace`: show the origin of something and what was made from it, and where the chain is broken.

The chain spans DVC, git and MLflow. Input: a run, a model, a registered version or alias, a project file or
folder, or a commit. Output: two trees, also as JSON: what it was made of (stages with params and code, data,
raw files with origin and sha256) and what was made from it (stages, runs, models, versions).
"""

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from baton import storage
from baton.lifecycle.tracing.target import Node, models, resolve
from baton.tracking import links, pipelines
from baton.tracking.store import Store
from baton.workspace import dvc_files, dvc_graph
from baton.workspace.dvc_graph import Graph

BASE = "data/base"
RAW = ("data/raw", BASE)  # their manifests record where bytes came from


@dataclass
class Trace:
    """The result of a trace."""

    asked: str
    made_of: Node
    made_from_it: list[Node]
    breaks: list[str]


def trace(store: Store, asked: str, here: Path) -> Trace:
    """Follow the chain in both directions.

    Args:
        store: the store.
        asked: a run, a model, a version, a file or folder, or a commit.
        here: the folder that file names are relative to.

    Raises:
        DataError: nothing of that name is known.
    """
    found = resolve(store, asked, here)
    breaks = list(found.breaks)
    if found.lock is None:
        return Trace(
            asked,
            found.node,
            found.used,
            [*breaks, "no dvc.lock of it is known: its data, params and code cannot be traced"],
        )
    seen: set[str] = set()
    for out in reversed(found.outs):  # the last stage comes first: it builds on the others
        stage, path = found.lock.made(out) or ("", out)
        if not stage and found.lock.source(out) is None:
            breaks.append(f"no stage of {found.lock.where} made or read {path}")
        elif stage and stage not in seen:
            found.node.children.append(_upstream(store, found.lock, stage, seen, breaks))
    readers: set[str] = set()
    used = found.used + [node for out in found.outs for node in _downstream(store, found.lock, out, readers)]
    return Trace(asked, found.node, used, [*breaks, *found.lock.broken(), *_changed(found.lock, found.outs)])


def _upstream(store: Store, lock: Graph, stage: str, seen: set[str], breaks: list[str]) -> Node:
    """Return a stage with everything it was made of; each stage is described once."""
    if stage in seen:
        return Node("stage", stage, {"see": "above"})
    seen.add(stage)
    facts: dict[str, Any] = {"params": lock.params(stage), "code": lock.code(stage), "outs": lock.outs(stage)}
    if stage in pipelines.STAGES:
        run = links.maker(store, stage, {stage: {"outs": lock.outs(stage)}})
        if run:
            facts["run"] = run.info.run_id
        else:
            breaks.append(
                f"no run in this store made the outputs of {stage} of {lock.where}: produced elsewhere, "
                "or with tracking off"
            )
    node = Node("stage", stage, facts)
    for path, digest in lock.deps(stage).items():
        data = Node("data", path, {"md5": digest})
        made = lock.made(path)
        for folder in _described(lock, path):
            data.children += _origins(path, folder, digest, breaks)
        data.children += [_upstream(store, lock, made[0], seen, breaks)] if made else []
        node.children.append(data)
    return node


def _described(lock: Graph, path: str) -> tuple[str, ...]:
    """Return the folders of data/raw or data/base that have a manifest; none of other data.

    If params `student_base` are set, `download` puts that model and its manifest into a folder of data/base;
    those of each of `tasks` with a source of its own into folders of data/raw.
    """
    if path not in RAW:
        return ()
    known = lock.params("download")
    if path == BASE:
        own_base = any(key.startswith("student_base.") for key in known)
        return ("", f"{storage.STUDENT}/") if own_base else ("",)
    tasks = sorted(key.split(".")[1] for key in known if re.fullmatch(r"tasks\.\w+\.source\.kind", key))
    return ("", *(f"{storage.TASKS}/{name}/" for name in tasks))


def _origins(path: str, folder: str, digest: str, breaks: list[str]) -> Iterator[Node]:
    """Yield the origins of the bytes in a `folder` of data/raw or data/base."""
    text = dvc_graph.file_of(digest, f"{folder}manifest.json")
    if text is None:
        breaks.append(
            f"{path}/{folder}manifest.json ({digest[:8]}) is not in the local DVC cache: `dvc fetch` gets "
            "it if a remote has it"
        )
        return
    manifest = json.loads(text)
    files = manifest["files"]
    for item in files.values() if isinstance(files, dict) else files:
        yield Node(
            "file",
            folder + item.get("path", ""),
            {key: item[key] for key in ("origin", "sha256") if key in item}
            | {"licence": manifest.get("licence", "")},
        )


def _downstream(store: Store, lock: Graph, out: str, seen: set[str]) -> Iterator[Node]:
    """Yield the models logged from an output, their versions, and the stages that read it."""
    stage, path = lock.made(out) or ("", out)
    run = (
        links.maker(store, stage, {stage: {"outs": lock.outs(stage)}}) if stage in pipelines.STAGES else None
    )
    yield from models(store, run.info.run_id, path) if run else ()
    for reader in lock.readers(path):
        if reader not in seen:
            seen.add(reader)
            children = [node for own in lock.outs(reader) for node in _downstream(store, lock, own, seen)]
            yield Node("stage", reader, {}, children)


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
