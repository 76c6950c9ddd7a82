"""What something was made of, by one `dvc.lock`: stages, data, and where raw files came from."""

import json
import re
from collections.abc import Iterator
from typing import Any

from baton import storage
from baton.lifecycle.tracing.target import Found, Node
from baton.tracking import links, pipelines
from baton.tracking.store import Store
from baton.workspace import dvc_graph
from baton.workspace.dvc_graph import Graph

BASE = "data/base"
RAW = ("data/raw", BASE)  # their manifests record where bytes came from


def grow(store: Store, found: Found, lock: Graph, breaks: list[str]) -> set[str]:
    """Add to the target what its outputs were made of, by its `lock`, and to `breaks` what is not known.

    Return the stages behind it.
    """
    seen: set[str] = set()
    for out in reversed(found.outs):  # the last stage comes first: it builds on the others
        stage, path = lock.made(out) or ("", out)
        if not stage and lock.source(out) is None:
            breaks.append(f"no stage of {lock.where} made or read {path}")
        elif stage and stage not in seen:
            found.node.children.append(_upstream(store, lock, stage, seen, breaks))
    return seen


def _upstream(store: Store, lock: Graph, stage: str, seen: set[str], breaks: list[str]) -> Node:
    """Return a stage with everything it was made of; each stage is described once."""
    if stage in seen:
        return Node("stage", stage, {"see": "above"})
    seen.add(stage)
    facts: dict[str, Any] = {"params": lock.params(stage), "code": lock.code(stage), "outs": lock.outs(stage)}
    if pipelines.tracked(stage, lock.outs(stage)):
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
