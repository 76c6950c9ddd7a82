"""What was made from something: by later stages, and by the runs that took its models as base models."""

from collections import deque
from collections.abc import Iterable, Iterator

from baton.lifecycle.tracing.target import Node, models
from baton.tracking import environment, links, pipelines
from baton.tracking.store import Store
from baton.workspace.dvc_graph import Graph

MOST = 50_000  # runs with one base: MLflow's limit for a query
# The stages whose models come from a base model, by its tag; a student learns from the teacher on `base`.
STAGES = {environment.BASE: ("finetune", "distill"), environment.STUDENT_BASE: ("distill",)}


def within(store: Store, lock: Graph, outs: Iterable[str]) -> Iterator[Node]:
    """Yield what was made from outputs by the stages of one `dvc.lock`; each reader is described once."""
    seen: set[str] = set()
    for out in outs:
        yield from _downstream(store, lock, out, seen)


def descendants(store: Store, digests: Iterable[str]) -> list[Node]:
    """Return the runs that took a model as their base, and those that took theirs, the nearest first.

    Args:
        store: the store.
        digests: of the folders of models.
    """
    todo = deque((digest, "it") for digest in digests if digest)
    seen, runs, found = {digest for digest, _ in todo}, set[str](), list[Node]()
    while todo:
        digest, named = todo.popleft()
        for tag, stages in STAGES.items():
            for run in reversed(store.runs(f"tags.`{tag}` LIKE '%{digest}%'", MOST)):
                if run.info.run_id in runs or run.data.tags.get(pipelines.STAGE) not in stages:
                    continue
                runs.add(run.info.run_id)
                facts = {"id": run.info.run_id, "pipeline": run.data.tags.get(pipelines.PARENT, "")}
                own = list(models(store, run.info.run_id))
                facts[tag.removeprefix("baton.")] = named
                found.append(Node("run", run.info.run_name, facts, own))
                for model in own:
                    if (made := model.facts["sha256"]) and made not in seen:
                        seen.add(made)
                        todo.append((made, f"{model.name} of run {run.info.run_id[:8]}"))
    return found


def _downstream(store: Store, lock: Graph, out: str, seen: set[str]) -> Iterator[Node]:
    """Yield the models logged from an output, their versions, and the stages that read it."""
    stage, path = lock.made(out) or ("", out)
    outs = lock.outs(stage) if stage else {}
    run = links.maker(store, stage, {stage: {"outs": outs}}) if pipelines.tracked(stage, outs) else None
    yield from models(store, run.info.run_id, path) if run else ()
    for reader in lock.readers(path):
        if reader not in seen:
            seen.add(reader)
            children = [node for own in lock.outs(reader) for node in _downstream(store, lock, own, seen)]
            yield Node("stage", reader, {}, children)
