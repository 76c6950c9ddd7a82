"""What a trace says of base models, by the manifests in DVC's cache."""

import json
from typing import Any

import pytest

from baton.lifecycle.tracing import upstream
from baton.tracking import links, pipelines
from baton.workspace import dvc_graph


def lock(**student: Any) -> dvc_graph.Graph:
    """Return the graph of a project whose `student_base` is this, or null."""
    stages = {
        "download": {
            "params": {"params.yaml": {"base": {"kind": "local"}, "student_base": student or None}},
            "outs": [{"path": "data/base", "md5": "b.dir"}],
        },
        "tokenize": {"deps": [{"path": "data/base", "md5": "b.dir"}], "outs": []},
    }
    return dvc_graph.Graph(json.dumps({"stages": stages}), "a test")


def base_of(graph: dvc_graph.Graph, breaks: list[str]) -> list[tuple[str, str, str]]:
    """Return the files of data/base: path, origin and licence."""
    store: Any = None  # only training stages have runs
    (base,) = upstream._upstream(store, graph, "tokenize", set(), breaks).children
    files = [node for node in base.children if node.kind == "file"]
    return [(node.name, node.facts["origin"], node.facts["licence"]) for node in files]


@pytest.mark.parametrize("own", [False, True])
def test_the_student_s_base_is_shown_if_params_name_one(monkeypatch: pytest.MonkeyPatch, own: bool) -> None:
    """A folder `student` of a base model, which earlier versions kept, is not one."""
    manifests = {
        f"{folder}manifest.json": json.dumps(
            {
                "licence": of,
                "files": {"config.json": {"path": "config.json", "origin": f"{of}'s", "sha256": "0"}},
            }
        )
        for folder, of in (("", "teacher"), ("student/", "student"))
    }
    monkeypatch.setattr(dvc_graph, "file_of", lambda digest, name: manifests.get(name))
    breaks: list[str] = []
    graph = lock(kind="local") if own else lock()
    expected = [("config.json", "teacher's", "teacher"), ("student/config.json", "student's", "student")]
    assert base_of(graph, breaks) == expected[: 1 + own] and not breaks
    del manifests["student/manifest.json"]
    base_of(graph, breaks)
    assert [line.split(" (")[0] for line in breaks] == ["data/base/student/manifest.json"] * own


@pytest.mark.parametrize("made", [pipelines.EMPTY, "0123.dir"], ids=["null", "an export"])
def test_a_stage_that_exported_nothing_needs_no_run(monkeypatch: pytest.MonkeyPatch, made: str) -> None:
    monkeypatch.setattr(links, "maker", lambda *_: None)
    outs = [{"path": pipelines.EXPORTED, "md5": made}]
    graph = dvc_graph.Graph(json.dumps({"stages": {"export": {"deps": [], "outs": outs}}}), "a test")
    store: Any = None
    breaks: list[str] = []
    upstream._upstream(store, graph, "export", set(), breaks)
    assert [line.partition(" of a test")[0] for line in breaks] == [
        "no run in this store made the outputs of export"
    ] * (made != pipelines.EMPTY)


def test_the_files_of_every_task_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of a task without a source of its own are the main one's."""
    own = {"stars": {"source": {"kind": "local"}}, "topics": {"source": None}}
    stages = {
        "download": {
            "params": {"params.yaml": {"source": {"kind": "local"}, "tasks": own}},
            "outs": [{"path": "data/raw", "md5": "r.dir"}],
        },
        "preprocess": {"deps": [{"path": "data/raw", "md5": "r.dir"}], "outs": []},
    }
    files = {"train": {"path": "train.csv", "origin": "inbox", "sha256": "0"}}
    known = {
        f"{folder}manifest.json": json.dumps({"licence": "MIT", "files": files})
        for folder in ("", "tasks/stars/")
    }
    monkeypatch.setattr(dvc_graph, "file_of", lambda digest, name: known.get(name))
    graph, breaks, store = dvc_graph.Graph(json.dumps({"stages": stages}), "a test"), list[str](), None
    (raw,) = upstream._upstream(store, graph, "preprocess", set(), breaks).children  # type: ignore[arg-type]
    names = [node.name for node in raw.children if node.kind == "file"]
    assert names == ["train.csv", "tasks/stars/train.csv"] and not breaks
