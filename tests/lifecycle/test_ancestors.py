"""Chains of base models in a real store: where each came from, and what was made from it."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from baton.lifecycle.registry import SHA256
from baton.lifecycle.tracing.target import Node
from baton.lifecycle.tracing.trace import Trace, as_json
from baton.tracking.stored_models import TEACHER, TEACHER_SHA256
from baton.workspace import dvc_graph
from tests.lifecycle.chain import CACHE, WHEEL, Chain, digest_of, on_run, opened
from tests.tracking import conftest as store_conftest

_quiet, project = store_conftest._quiet, store_conftest.project


@pytest.fixture(autouse=True)
def _own_store_only() -> Iterator[None]:
    yield
    import mlflow

    mlflow.set_tracking_uri(None)
    mlflow.set_registry_uri(None)


@pytest.fixture
def chain(project: Path, monkeypatch: pytest.MonkeyPatch) -> Chain:
    monkeypatch.setattr(dvc_graph, "cache", lambda: CACHE)
    monkeypatch.setattr(dvc_graph, "moved", lambda stage: iter(()))
    return opened()


def names(nodes: list[Node]) -> list[str]:
    return [node.name for node in nodes]


def test_a_chain_of_three_is_followed_in_both_directions(chain: Chain) -> None:
    """A student in the middle: its teacher's base is an ancestor too."""
    first = chain.train("first", WHEEL)
    second = chain.train("second", on_run(first, "first"))
    student = chain.run_of["second student"]
    third = chain.train("third", on_run(student, "second", "student"))
    found = chain.trace(third)
    assert names(found.ancestors) == [f"runs:/{student}, student", f"runs:/{first}, teacher"]
    assert [node.facts["sha256"] for node in found.ancestors] == [
        digest_of("second student"),
        digest_of("first teacher"),
    ]
    assert [node.facts["of"] for node in found.ancestors] == ["finetune", f"runs:/{student}, student"]
    for node, run in zip(found.ancestors, (student, first), strict=True):
        below = {(one.kind, one.facts.get("id") or one.name) for one in node.all()}
        assert ("run", run) in below and {("stage", "finetune"), ("stage", "download")} <= below
    assert not [text for text in found.breaks if "base model" in text], found.breaks
    assert found.descendants == []

    back = chain.trace(first)
    assert back.ancestors == []
    ids = [node.facts["id"] for node in back.descendants]
    assert ids == [second, student, third, chain.run_of["third student"]]
    assert [node.facts["base"] for node in back.descendants] == ["it"] * 2 + [
        f"student of run {student[:8]}"
    ] * 2
    assert {child.facts["sha256"] for node in back.descendants for child in node.children} == {
        digest_of(f"{name} {model}") for name in ("second", "third") for model in ("teacher", "student")
    }
    assert names(chain.trace("models/student").ancestors) == names(found.ancestors)  # of the working tree
    assert json.loads(as_json(found))["ancestors"][1]["name"] == f"runs:/{first}, teacher"


def test_other_bases_are_no_ancestors(chain: Chain) -> None:
    first = chain.train("first", WHEEL)
    chain.train("second", WHEEL)
    found = chain.trace(first)
    assert found.ancestors == [] and found.descendants == []


def test_a_registered_version_stands_for_its_teacher(chain: Chain) -> None:
    import mlflow

    mlflow.set_tracking_uri(chain.store.client.tracking_uri)
    first = chain.train("first", WHEEL)
    student, teacher = chain.log("first", "student"), chain.log("first", "teacher")
    chain.store.client.create_registered_model("news")
    tags = {TEACHER: teacher, TEACHER_SHA256: digest_of("first teacher"), SHA256: digest_of("first student")}
    chain.store.client.create_model_version("news", f"models:/{student}", first, tags=tags)
    base = {"kind": "registered", "name": "news", "version": 1, "licence": "none"}
    second = chain.train("second", base | {"sha256": digest_of("first teacher")})
    assert names(chain.trace(second).ancestors) == ["models:/news/1, teacher"]
    found = chain.trace("models:/news/1")
    assert [node.facts["id"] for node in found.descendants] == [second, chain.run_of["second student"]]
    # Of its student there is nothing.
    assert chain.trace(student).descendants == []


def test_a_model_folder_in_the_inbox_is_found_by_its_digest(chain: Chain) -> None:
    first = chain.train("first", WHEEL)
    local = {"kind": "local", "folder": "inbox/model", "models": [digest_of("first teacher")]}
    second = chain.train("second", local)
    found = chain.trace(second)
    assert names(found.ancestors) == ["inbox/model"]
    assert {node.facts.get("id") for node in found.ancestors[0].all()} >= {first}
    assert second in {node.facts["id"] for node in chain.trace(first).descendants}


def test_the_base_of_the_student_is_an_ancestor_of_the_student_alone(chain: Chain) -> None:
    first, second = chain.train("first", WHEEL), chain.train("second", WHEEL)
    own = on_run(chain.run_of["second student"], "second", "student")
    third = chain.train("third", on_run(first, "first"), own)
    of_teacher, of_student = f"runs:/{first}, teacher", f"runs:/{own['run']}, student"
    assert names(chain.trace(third).ancestors) == [of_teacher]
    assert names(chain.trace(chain.run_of["third student"]).ancestors) == [of_teacher, of_student]
    made = [node.facts["id"] for node in chain.trace(second).descendants]
    assert made == [chain.run_of["third student"]]  # the third teacher has nothing of the second


@pytest.mark.parametrize("way", ["never there", "other store", "purged"])
def test_a_missing_ancestor_is_said(chain: Chain, way: str) -> None:
    first = chain.train("first", WHEEL)
    base = on_run("0" * 32 if way != "purged" else first, "first")
    if way == "never there":
        base["sha256"] = "0" * 64
    second = chain.train("second", base)
    if way == "purged":
        chain.store.client.delete_run(first)
        for model in chain.store.models(f"source_run_id = '{first}'"):
            chain.store.client.delete_logged_model(model.model_id)
    found = chain.trace(second)
    named = f"runs:/{base['run']}, teacher"
    assert names(found.ancestors) == [named]
    told = "; ".join(text for text in found.breaks if text.startswith(f"base model {named}: "))
    if way == "other store":  # but a run of this store made the same bytes
        assert "is not in this store" in told and f"run {first} made the same bytes" in told
        assert {node.facts.get("id") for node in found.ancestors[0].all()} >= {first}
    else:
        assert "where it came from cannot be traced" in told
        assert found.ancestors[0].children == []


def test_without_dvc_s_cache_params_say_what_the_base_was(chain: Chain) -> None:
    first = chain.train("first", WHEEL)
    second = chain.train("second", on_run(first, "first"))
    shutil.rmtree(CACHE)
    assert names(chain.trace(second).ancestors) == [f"runs:/{first}, teacher"]


def test_without_a_lock_the_run_says_what_the_base_was(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    first = chain.train("first", WHEEL)
    second = chain.train("second", on_run(first, "first"))
    from baton.lifecycle.tracing import target

    def unknown(*_: Any) -> None:
        return None

    monkeypatch.setattr(target, "_lock_of", unknown)
    found = chain.trace(second)
    assert names(found.ancestors) == [digest_of("first teacher")]
    assert {node.facts.get("id") for node in found.ancestors[0].all()} >= {first}


def test_a_long_chain_and_even_a_circle_come_to_an_end(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    """As nightly retraining makes one; a circle would need a digest to hold itself."""
    from baton.lifecycle.tracing import ancestors, downstream
    from baton.lifecycle.tracing.target import Found

    length = 2000

    def following(store: Any, found: Any, stages: Any) -> Iterator[ancestors.Base]:
        place = int(found.node.name)
        yield ancestors.Base(f"base {place + 1}", str((place + 1) % length))

    behind: Callable[..., Found] = lambda store, base, breaks: Found(Node("model", base.sha256), None, [])  # noqa: E731
    monkeypatch.setattr(ancestors, "bases", following)
    monkeypatch.setattr(ancestors, "behind", behind)
    found = ancestors.of(chain.store, Found(Node("run", "0"), None, []), set(), [])
    assert len(found) == length
    as_json(Trace("0", Node("run", "0"), [], [], found))

    first = chain.train("first", on_run("0" * 32, "first"))  # started from itself, if that were possible
    assert len(downstream.descendants(chain.store, [digest_of("first teacher")])) == 2
    assert first
