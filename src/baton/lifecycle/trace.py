"""`baton trace`: where something came from and what came of it, over DVC, git and MLflow; and where the chain is broken.

Input: a run, a model, a registered version or alias, a file or folder of ours, or a commit. Output: two trees, also as JSON: what it was
made of (stages with params and code, data, raw files with origin and sha256) and what was made of it (stages, runs, models, versions).
"""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mlflow.entities import LoggedModel, Run
from mlflow.exceptions import MlflowException

from baton.errors import DataError
from baton.lifecycle import graph
from baton.lifecycle.graph import Graph
from baton.lifecycle.registry import Registry, number
from baton.tracking import links, pipelines
from baton.tracking.dvcfiles import LOCK
from baton.tracking.store import Store

RAW = ("data/raw", "data/base")  # their manifests say where bytes came from
RUN, MODEL = re.compile(r"(?:runs:/)?([0-9a-f]{32})(?:/.*)?"), re.compile(r"(?:models:/)?(m-[0-9a-f]{32})")
VERSION = re.compile(r"models:/([^/@]+)(?:/(\d+)|@([\w-]+))")


@dataclass
class Node:
    """Something in the chain, with what it was made of, or what was made of it."""

    kind: str
    name: str
    facts: dict[str, Any] = field(default_factory=dict)
    children: list["Node"] = field(default_factory=list)


@dataclass
class Trace:
    """The answer."""

    asked: str
    made_of: Node
    made_from_it: list[Node]
    breaks: list[str]


@dataclass
class Found:
    """What was asked for: its place in a graph, and what MLflow knows of it."""

    node: Node
    lock: Graph | None
    outs: list[str]  # its outputs, or all of a commit's
    breaks: list[str] = field(default_factory=list)


def trace(store: Store, asked: str, here: Path) -> Trace:
    """Follow the chain both ways.

    Args:
        store: the store.
        asked: a run, a model, a version, a file or folder, or a commit.
        here: the folder that the name of a file begins in.

    Raises:
        DataError: nothing of that name is known.
    """
    found = _resolve(store, asked, here)
    breaks = list(found.breaks)
    if found.lock is None:
        return Trace(asked, found.node, [], [*breaks, "no dvc.lock is known that belongs to it: data, params and code cannot be told"])
    seen: set[str] = set()
    for out in reversed(found.outs):  # the last stage comes first: it stands on the others
        stage, path = found.lock.made(out) or ("", out)
        if not stage and found.lock.source(out) is None:
            breaks.append(f"no stage of {found.lock.where} made or read {path}")
        elif stage and stage not in seen:
            found.node.children.append(_upstream(store, found.lock, stage, seen, breaks))
    readers: set[str] = set()
    used = [node for out in found.outs for node in _downstream(store, found.lock, out, readers)]
    return Trace(asked, found.node, used, [*breaks, *found.lock.broken(), *_changed(found.lock, found.outs)])


def _resolve(store: Store, asked: str, here: Path) -> Found:
    if match := VERSION.fullmatch(asked):
        return _version(store, *match.groups())
    if match := MODEL.fullmatch(asked):
        return _model(store, store.client.get_logged_model(match[1]))
    path = os.path.relpath(here / asked)
    if Path(path).exists() or _in_workspace(path):
        return _file(path)
    if match := RUN.fullmatch(asked):
        try:
            return _run(store, store.client.get_run(match[1]))
        except MlflowException:
            pass
    if commit := _commit(asked):
        lock = graph.of_commit(commit)
        outs = [out for stage in lock.stages for out in lock.outs(stage)] if lock else []
        return Found(Node("commit", commit), lock, outs)
    registry = Registry(store, asked)
    if (version := registry.alias("champion")) or (versions := registry.versions()):
        return _version(store, asked, number(version or versions[0]), None)
    expected = "a run id, models:/NAME/VERSION, models:/NAME@ALIAS, a registered model, a file or folder, or a commit"
    raise DataError(f"nothing is known of {asked}", got=asked, expected=expected, hint="`make ui` shows runs and models")


def _in_workspace(path: str) -> bool:
    lock = graph.of_workspace()
    return bool(lock and lock.made(path))


def _file(path: str) -> Found:
    lock = graph.of_workspace()
    if lock is None:
        return Found(Node("file", path), None, [path])
    if made := lock.made(path):
        stage, out = made
        return Found(Node("file", path, {"md5": lock.outs(stage)[out]}), lock, [out], list(graph.moved(stage)))
    dep, digest = lock.source(path) or (path, "")
    return Found(Node("file", path, {"part of": dep, "md5": digest}), lock, [dep])


def _version(store: Store, name: str, wanted: str | None, alias: str | None) -> Found:
    registry = Registry(store, name)
    version = registry.alias(alias) if alias else registry.version(wanted or "")
    if version is None:
        raise DataError(
            f"{name} has no alias {alias}", got=alias, expected="champion or challenger", hint=f"`baton trace {name}` takes any version"
        )
    found = _model(store, store.client.get_logged_model(str(version.source).rpartition("/")[2]))
    aliases = store.client.get_model_version(name, number(version)).aliases
    kept = registry.read(version, LOCK.name)
    lock = Graph(kept, f"version {number(version)} of {name}") if kept else found.lock
    facts = {"aliases": list(aliases), "sha256": version.tags.get("baton.sha256", "")}
    return Found(Node("version", f"{name} {number(version)}", facts, [found.node]), lock, found.outs, found.breaks)


def _model(store: Store, model: LoggedModel) -> Found:
    found = _run(store, store.client.get_run(str(model.source_run_id)))
    facts = {"id": model.model_id, "sha256": model.tags.get("sha256", "")}
    breaks = found.breaks
    if not store.client.list_logged_model_artifacts(model.model_id):
        breaks = [*breaks, f"the files of the model {model.model_id} are not in MLflow's artifact store any more"]
    return Found(Node("model", model.name, facts, [found.node]), found.lock, [model.tags.get("path", "")], breaks)


def _run(store: Store, run: Run) -> Found:
    tags = run.data.tags
    pipeline = store.client.get_run(tags[pipelines.PARENT]) if pipelines.PARENT in tags else run
    stage = tags.get(pipelines.STAGE, "")
    facts = {"id": run.info.run_id, "status": run.info.status, "commit": tags.get("git.commit", ""), "pipeline": pipeline.info.run_id}
    breaks = []
    if tags.get("git.dirty") == "true":
        breaks.append(f"run {run.info.run_id[:8]} ran with changes that were not committed (uncommitted.diff on its pipeline run)")
    digests = {key.removeprefix(links.OUT): value for key, value in tags.items() if key.startswith(links.OUT)}
    lock = _lock_of(store, pipeline, tags.get("git.commit", ""), stage, digests)
    outs = list(digests) or (lock.outs(stage or pipelines.STAGES[-1]) if lock else {})
    return Found(Node("run", run.info.run_name, facts), lock, list(outs)[-1:], breaks)


def _lock_of(store: Store, pipeline: Run, commit: str, stage: str, digests: dict[str, str]) -> Graph | None:
    """The `dvc.lock` that belongs to a run: kept with its pipeline run, else that of its commit or of the working tree, if it fits."""
    text = store.text(pipeline.info.run_id, LOCK.name)
    kept = Graph(text, f"run {pipeline.info.run_id[:8]}") if text else None
    for lock in (kept, graph.of_commit(commit) if commit else None, graph.of_workspace()):
        if lock and (not digests or all(lock.outs(stage).get(path) == digest for path, digest in digests.items())):
            return lock
    return None


def _upstream(store: Store, lock: Graph, stage: str, seen: set[str], breaks: list[str]) -> Node:
    """A stage with all that it was made of; each stage is told once."""
    if stage in seen:
        return Node("stage", stage, {"see": "above"})
    seen.add(stage)
    facts: dict[str, Any] = {"params": lock.params(stage), "code": lock.code(stage), "outs": lock.outs(stage)}
    if stage in pipelines.STAGES:
        run = links.maker(store, stage, {stage: {"outs": lock.outs(stage)}})
        if run:
            facts["run"] = run.info.run_id
        else:
            breaks.append(f"no run of this store made the outputs of {stage} of {lock.where}: produced elsewhere, or with tracking off")
    node = Node("stage", stage, facts)
    for path, digest in lock.deps(stage).items():
        data = Node("data", path, {"md5": digest})
        made = lock.made(path)
        data.children += list(_origins(path, digest, breaks)) if path in RAW else []
        data.children += [_upstream(store, lock, made[0], seen, breaks)] if made else []
        node.children.append(data)
    return node


def _origins(path: str, digest: str, breaks: list[str]) -> Iterator[Node]:
    """Where the bytes of data/raw and data/base came from."""
    text = graph.file_of(digest, "manifest.json")
    if text is None:
        breaks.append(f"the manifest of {path} ({digest[:8]}) is not in DVC's cache here: `dvc fetch` brings it if a remote has it")
        return
    manifest = json.loads(text)
    files = manifest["files"]
    for item in files.values() if isinstance(files, dict) else files:
        yield Node(
            "file",
            item.get("path", ""),
            {key: item[key] for key in ("origin", "sha256") if key in item} | {"licence": manifest.get("licence", "")},
        )


def _downstream(store: Store, lock: Graph, out: str, seen: set[str]) -> Iterator[Node]:
    """Models logged from an output, their versions, and the stages that read it."""
    stage, path = lock.made(out) or ("", out)
    run = links.maker(store, stage, {stage: {"outs": lock.outs(stage)}}) if stage in pipelines.STAGES else None
    for model in store.models(f"source_run_id = '{run.info.run_id}'") if run else ():
        if model.tags.get("path") == path:
            yield Node("model", model.name, {"id": model.model_id}, list(_versions(store, model)))
    for reader in lock.readers(path):
        if reader not in seen:
            seen.add(reader)
            children = [node for own in lock.outs(reader) for node in _downstream(store, lock, own, seen)]
            yield Node("stage", reader, {}, children)


def _versions(store: Store, model: LoggedModel) -> Iterator[Node]:
    for version in store.client.search_model_versions(f"run_id = '{model.source_run_id}'"):
        if str(version.source).endswith(model.model_id):
            aliases = store.client.get_model_version(version.name, number(version)).aliases
            yield Node("version", f"{version.name} {number(version)}", {"aliases": list(aliases)})


def _changed(lock: Graph, outs: list[str]) -> Iterator[str]:
    """What is no longer as it was: the working tree's `dvc.lock`, and DVC's cache."""
    now = graph.of_workspace()
    for out in outs:
        made = lock.made(out)
        if made is None:
            continue
        stage, path = made
        digest = lock.outs(stage)[path]
        current = now.outs(stage).get(path) if now else None
        if current != digest:
            yield f"dvc.lock changed since: {path} is {digest[:8]} here and {(current or 'unknown')[:8]} in the working tree"
        if not graph.cached(digest):
            yield f"{path} ({digest[:8]}) is not in DVC's cache here: `dvc pull` brings it if a remote has it"


def _commit(name: str) -> str:
    done = subprocess.run(["git", "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}"], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def as_json(found: Trace) -> str:
    """For programs: the whole of it, params and digests included."""
    return json.dumps(asdict(found), indent=2)
