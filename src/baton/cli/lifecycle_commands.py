"""The commands on registry, gate, drift and trace.

mlflow is imported only after `tracking.prepare` has run.
"""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.tree import Tree

from baton import console, params, storage, tracking
from baton.errors import ParamsError

if TYPE_CHECKING:
    from baton.lifecycle.tracing.target import Node
    from baton.tracking.store import Store

SHORT = 12  # characters of a digest shown in a tree


def register() -> None:
    """Run `baton register`."""
    settings = params.read().promotion
    with opened_store() as store:
        from baton.lifecycle import registration, registry

        version, new = registration.register(registry.Registry(store, settings.name), settings)
    aliases = ", ".join(version.aliases) or "no alias"
    console.say(
        f"{'registered' if new else 'already registered'}: {settings.name} version "
        f"{registry.number(version)} ({aliases})"
    )


def promote(enabled: bool, to: str | None, json_path: Path | None) -> bool:
    """Run `baton promote`; return whether the challenger passed."""
    settings = params.read().promotion
    with opened_store() as store:
        from baton.lifecycle import registry
        from baton.lifecycle.promotion import promote

        own = registry.Registry(store, settings.name)
        outcome = promote.roll_back(own, to) if to else promote.promote(own, settings, enabled)
    if json_path:
        storage.write_json(json_path, dict(outcome.record))
    judged = "checks" in outcome.record and outcome.champion != outcome.version
    console.say(escape(promote.words(outcome.record, str) if judged else outcome.text))
    if outcome.moved:
        back = f"; `baton promote --to {outcome.champion}` reverts this" if outcome.champion else ""
        console.say(f"models:/{settings.name}@champion is now version {outcome.version}{back}")
        console.say(
            "commit promotions.jsonl, which records it: retraining refuses a champion without a record"
        )
    return outcome.passed


def verify(model: str, record: bool, out: Path | None) -> None:
    """Run `baton verify`."""
    with opened_store() as store:
        from baton.lifecycle import verified

        console.say(escape(verified.verify(store, model, record, out)))


def serve(model: str, host: str, port: int, abstain_below: float | None, out: Path | None) -> None:
    """Run `baton serve`: this process becomes the server, or `out` gets a container's files."""
    with opened_store() as store:
        from baton.lifecycle.serving import container, launch

        folder, said = launch.prepared(store, model), launch.about(store, model, abstain_below)
    if abstain_below is not None:
        launch.check_abstention(folder)
    if out is not None:
        container.write(folder, said, out)
        console.say(
            f"{escape(str(out))} has a Dockerfile, and all that it copies; to build and run it:\n"
            f"  docker build --tag {container.tag(said)} {escape(str(out))}\n"
            f"  docker run --publish {port}:{container.PORT} {container.tag(said)}"
        )
        return
    console.say(f"serving {escape(model)} on http://{host}:{port}/invocations (Ctrl-C ends it)")
    launch.become(folder, host, port, said)


def run_retraining(
    enabled: bool,
    overrides: list[str],
    push: bool,
    base: str | None,
    branch: str | None,
    pull_request: bool,
) -> bool:
    """Run `baton retrain`; return whether the challenger passed or none was needed."""
    tracking.prepare()
    from baton.lifecycle.retraining import retrain as job

    result = job.retrain(job.Options(enabled, overrides, push, base, branch, pull_request))
    console.say(escape(result.report))
    return result.passed


def judge_drift(path: Path, predict: bool) -> bool:
    """Run `baton drift`; return whether the rows are within the limits."""
    active = params.read()
    with opened_store() as store:
        from baton.lifecycle import registry
        from baton.lifecycle.retraining import unlabelled

        found = unlabelled.judge(registry.Registry(store, active.promotion.name), active, path, predict)
    console.say(escape(found.text))
    return not found.beyond


def show_trace(target: str, as_json: bool, here: Path) -> None:
    """Run `baton trace`; file names are relative to `here`."""
    with opened_store() as store:
        from baton.lifecycle.tracing import trace

        found = trace.trace(store, target, here)
    if as_json:
        sys.stdout.write(trace.as_json(found) + "\n")
        return
    console.say(_tree("made of", [found.made_of]))
    if found.ancestors:  # their params, code and outputs are in the JSON
        console.say(_tree("base models that were trained, nearest first", found.ancestors, lists=False))
    console.say(_tree("made from it", found.made_from_it))
    if found.descendants:
        console.say(_tree("runs with it, or with what they made, as base model", found.descendants))
    for text in found.breaks:
        console.warn("broken", text)


@contextlib.contextmanager
def opened_store() -> "Iterator[Store]":
    """Open the store in params after a sync; explain the errors it raises."""
    active = params.read()
    if isinstance(active.tracking, params.NoTracking):
        hint = "set tracking to {kind: mlflow, …}"
        raise ParamsError(
            "tracking is off: there is no registry", got="tracking.kind: off", expected="mlflow", hint=hint
        )
    tracking.sync()
    from baton.tracking.store import open_store, usable

    store = open_store(active.tracking)
    with usable(store.client.tracking_uri):
        yield store


def _tree(title: str, nodes: "list[Node]", lists: bool = True) -> Tree:
    """Return the nodes as a tree to print, with or without the facts that are lists."""
    root = Tree(console.styled(f"[bold]{title}[/]" + ("" if nodes else ": nothing yet")))
    for node in nodes:
        _grow(root, node, lists)
    return root


def _grow(parent: Tree, node: "Node", with_lists: bool) -> None:
    facts, lists = [], []
    for key, value in node.facts.items():
        if isinstance(value, dict):
            shown = (
                f"{name} {str(item)[:SHORT]}" if key != "params" else f"{name}: {item}"
                for name, item in value.items()
            )
            lists += [f"{key}: {', '.join(shown)}"] if value else []
        elif value:
            text = ", ".join(value) if isinstance(value, list) else str(value)
            facts.append(
                f"{key} {text[:SHORT] if key in {'md5', 'sha256', 'commit', 'run', 'pipeline'} else text}"
            )
    said = f"{node.kind} [bold]{escape(node.name)}[/]"
    said += f" [dim]({escape('; '.join(facts))})[/]" if facts else ""
    branch = parent.add(console.styled(said))
    for line in lists if with_lists else ():
        branch.add(console.styled(f"[dim]{escape(line)}[/]"))
    for child in node.children:
        _grow(branch, child, with_lists)
