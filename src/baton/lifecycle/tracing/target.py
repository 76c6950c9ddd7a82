"""The target of `baton trace`: a run, model, version or alias, project file or folder, or commit."""

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlflow.entities import LoggedModel, Run
from mlflow.exceptions import MlflowException

from baton.errors import DataError
from baton.lifecycle.registry import DENIED, MISSING, SHA256, Registry, number
from baton.tracking import links, pipelines
from baton.tracking.store import Store
from baton.tracking.stored_models import TEACHER_SHA256
from baton.workspace import dvc_graph
from baton.workspace.commands import run as output_of
from baton.workspace.dvc_files import LOCK
from baton.workspace.dvc_graph import Graph

MODEL_ID = "m-[0-9a-f]{32}"
RUN, MODEL = re.compile(r"(?:runs:/)?([0-9a-f]{32})(?:/.*)?"), re.compile(f"(?:models:/)?({MODEL_ID})")
VERSION = re.compile(r"models:/([^/@]+)(?:/(\d+)|@([\w-]+))")


@dataclass
class Node:
    """A node in the chain, with what it was made of, or what was made from it."""

    kind: str
    name: str
    facts: dict[str, Any] = field(default_factory=dict)
    children: list["Node"] = field(default_factory=list)

    def all(self) -> Iterator["Node"]:
        """Yield this node and those below it."""
        yield self
        for child in self.children:
            yield from child.all()


@dataclass
class Found:
    """The target: its place in a graph, and what MLflow knows about it."""

    node: Node
    lock: Graph | None
    outs: list[str]  # its outputs, or all outputs of a commit
    breaks: list[str] = field(default_factory=list)
    used: list[Node] = field(default_factory=list)  # what was made from it, if the lock does not show it
    digests: tuple[str, ...] = ()  # of model folders that stand for it when they are a base model


def resolve(store: Store, asked: str, here: Path) -> Found:
    """Find the target and the `dvc.lock` that describes how it was made; file names are relative to `here`.

    Raises:
        DataError: nothing of that name is known.
    """
    if match := VERSION.fullmatch(asked):
        return _version(store, *match.groups())
    if match := MODEL.fullmatch(asked):
        return of_model(store, _logged(store, match[1], asked))
    path = os.path.relpath(here / asked)
    if Path(path).exists() or _in_workspace(path):
        return _file(path)
    if match := RUN.fullmatch(asked):
        try:
            return _run(store, store.client.get_run(match[1]))
        except MlflowException:
            pass
    if commit := _commit(asked):
        lock = dvc_graph.of_commit(commit)
        return Found(
            Node("commit", commit), lock, _outs(lock, lock.stages) if lock else [], used=_ran(store, commit)
        )
    registry = Registry(store, asked)
    if (version := registry.alias("champion")) or (versions := registry.versions()):
        return _version(store, asked, number(version or versions[0]), None)
    expected = (
        "a run id, models:/NAME/VERSION, models:/NAME@ALIAS, a registered model, a file or folder, or a "
        "commit"
    )
    raise DataError(
        f"nothing is known about {asked}",
        got=asked,
        expected=expected,
        hint="`baton ui` shows runs and models",
    )


def _in_workspace(path: str) -> bool:
    lock = dvc_graph.of_workspace()
    return bool(lock and lock.made(path))


def _file(path: str) -> Found:
    lock = dvc_graph.of_workspace()
    if lock is None:
        return Found(Node("file", path), None, [path])
    if made := lock.made(path):
        stage, out = made
        return Found(
            Node("file", path, {"md5": lock.outs(stage)[out]}), lock, [out], list(dvc_graph.moved(stage))
        )
    dep, digest = lock.source(path) or (path, "")
    return Found(Node("file", path, {"part of": dep, "md5": digest}), lock, [dep])


def _version(store: Store, name: str, wanted: str | None, alias: str | None) -> Found:
    registry = Registry(store, name)
    version = registry.alias(alias) if alias else registry.version(wanted or "")
    if version is None:
        raise DataError(
            f"{name} has no alias {alias}",
            got=alias,
            expected="champion or challenger",
            hint=f"`baton trace {name}` needs no alias",
        )
    model = re.search(MODEL_ID, str(version.source))  # a server does not report `model_id`
    if model is None:
        return Found(
            Node("version", f"{name} {number(version)}"), None, [], ["it was not made by `baton register`"]
        )
    found = of_model(store, _logged(store, model[0], name))
    aliases = store.client.get_model_version(name, number(version)).aliases
    kept = registry.read(version, LOCK.name)
    lock = Graph(kept, f"version {number(version)} of {name}") if kept else found.lock
    facts = {"aliases": list(aliases), "sha256": version.tags.get(SHA256, "")}
    teacher = version.tags.get(TEACHER_SHA256)  # a version is a base model by its teacher
    digests = (*found.digests, *([teacher] if teacher else ()))
    node = Node("version", f"{name} {number(version)}", facts, [found.node])
    return Found(node, lock, found.outs, found.breaks, digests=digests)


def _logged(store: Store, model: str, asked: str) -> LoggedModel:
    try:
        return store.client.get_logged_model(model)
    except MlflowException as error:
        if error.error_code not in {MISSING, DENIED}:
            raise
        raise DataError(
            f"nothing is known about {asked}",
            got=f"no model {model} in this store",
            hint="`baton ui` shows models",
        ) from None


def of_model(store: Store, model: LoggedModel) -> Found:
    """Find the run of a logged model, and the `dvc.lock` that describes how it was made."""
    found = _run(store, store.client.get_run(str(model.source_run_id)))
    facts = {"id": model.model_id, "sha256": model.tags.get("sha256", "")}
    breaks = found.breaks
    if not store.client.list_logged_model_artifacts(model.model_id):
        breaks = [
            *breaks,
            f"the files of the model {model.model_id} are no longer in MLflow's artifact store",
        ]
    node, outs = Node("model", model.name, facts, [found.node]), [model.tags.get("path", "")]
    return Found(node, found.lock, outs, breaks, digests=(model.tags.get("sha256", ""),))


def _run(store: Store, run: Run) -> Found:
    tags = run.data.tags
    pipeline = store.client.get_run(tags[pipelines.PARENT]) if pipelines.PARENT in tags else run
    stage = tags.get(pipelines.STAGE, "")
    facts = {
        "id": run.info.run_id,
        "status": run.info.status,
        "commit": tags.get("git.commit", ""),
        "pipeline": pipeline.info.run_id,
    }
    breaks = []
    if tags.get("git.dirty") == "true":
        breaks.append(
            f"run {run.info.run_id[:8]} ran with uncommitted changes (uncommitted.diff on its pipeline run)"
        )
    if stage and run.info.status not in {"FINISHED", "RUNNING"}:
        breaks.append(f"run {run.info.run_id[:8]} ended {run.info.status} and made no output that DVC keeps")
    digests = {key.removeprefix(links.OUT): value for key, value in tags.items() if key.startswith(links.OUT)}
    lock = _lock_of(store, pipeline, tags.get("git.commit", ""), stage, digests)
    outs = list(digests) or (_outs(lock, lock.stages) if lock and not stage else [])
    logged = (model.tags.get("sha256", "") for model in store.models(f"source_run_id = '{run.info.run_id}'"))
    return Found(Node("run", run.info.run_name, facts), lock, outs, breaks, digests=tuple(logged))


def _outs(lock: Graph, stages: Iterable[str]) -> list[str]:
    return [out for stage in stages for out in lock.outs(stage)]


def _lock_of(store: Store, pipeline: Run, commit: str, stage: str, digests: dict[str, str]) -> Graph | None:
    """Return the `dvc.lock` of a run.

    It is the one kept with the pipeline run, else that of its commit or of the working tree, if it matches.
    """
    text = store.text(pipeline.info.run_id, LOCK.name)
    kept = Graph(text, f"run {pipeline.info.run_id[:8]}") if text else None
    others: tuple[Graph | None, ...] = (
        ()
        if stage and not digests
        else (dvc_graph.of_commit(commit) if commit else None, dvc_graph.of_workspace())
    )
    for lock in (kept, *others):
        if lock and (
            not digests or all(lock.outs(stage).get(path) == digest for path, digest in digests.items())
        ):
            return lock
    return None


def _ran(store: Store, commit: str) -> list[Node]:
    """Return the runs that used a commit's code, with their models; the commit's own `dvc.lock` is older."""
    runs = [run for run in store.runs(f"tags.`git.commit` = '{commit}'") if pipelines.STAGE in run.data.tags]
    named = (
        (run, {"id": run.info.run_id, "pipeline": run.data.tags.get(pipelines.PARENT, "")})
        for run in reversed(runs)
    )
    return [
        Node("run", run.info.run_name, facts, list(models(store, run.info.run_id))) for run, facts in named
    ]


def models(store: Store, run: str, path: str = "") -> Iterator[Node]:
    """Yield the models that a run logged (only those from `path`, if given), with their versions."""
    for model in store.models(f"source_run_id = '{run}'"):
        if model.tags.get("path") == (path or model.tags.get("path")):
            facts = {"id": model.model_id, "sha256": model.tags.get("sha256", "")}
            yield Node("model", model.name, facts, list(_versions(store, model)))


def _versions(store: Store, model: LoggedModel) -> Iterator[Node]:
    for version in store.client.search_model_versions(f"run_id = '{model.source_run_id}'"):
        if str(version.source).endswith(model.model_id):
            aliases = store.client.get_model_version(version.name, number(version)).aliases
            yield Node("version", f"{version.name} {number(version)}", {"aliases": list(aliases)})


def _commit(name: str) -> str:
    words = ("git", "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    return output_of(*words, check=False).strip()
