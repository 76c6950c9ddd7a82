"""Which stages would run. Input: what `dvc status` and `dvc.lock` say. Output: the names of the others."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from baton.errors import DataError
from baton.workspace import dvc_files, dvc_graph
from baton.workspace.commands import run

DATA = ("download", "preprocess", "tokenize")
TIMED = ("finetune", "distill", "evaluate")
STAGES = (*DATA, *TIMED, "export")
ARRAYS = Path("data/arrays")


def current() -> set[str]:
    """Return the stages that `dvc repro` would skip, or whose outputs it would restore from its cache."""
    status = json.loads(run("dvc", "status", "--json") or "{}")
    graph = dvc_graph.of_workspace()
    kept = {stage for stage in STAGES if graph and stage in graph.stages and _kept(graph.outs(stage))}
    return skipped(status, kept, STAGES)


def skipped(status: Mapping[str, Any], kept: Iterable[str], order: Sequence[str]) -> set[str]:
    """Return the stages before the first that would run: each reads what the ones before it write.

    Args:
        status: of `dvc status --json`: stage -> its changes.
        kept: stages whose outputs of `dvc.lock` are there or in DVC's cache.
        order: of the stages.
    """
    found: set[str] = set()
    for stage in order:
        changes = status.get(stage, [])
        if changes and not (stage in kept and _deleted(changes)):
            break
        found.add(stage)
    return found


def _deleted(changes: Sequence[Any]) -> bool:
    """Return whether the only changes are files that are gone, as in a fresh clone."""
    return all(
        isinstance(change, dict)
        and all(
            isinstance(items, dict) and all(how == "deleted" for how in items.values())
            for items in change.values()
        )
        for change in changes
    )


def _kept(outs: Mapping[str, str]) -> bool:
    return bool(outs) and all(
        Path(path).exists() or dvc_graph.cached(digest) for path, digest in outs.items()
    )


def require_data(found: set[str]) -> None:
    """Refuse to estimate without the arrays that params ask for.

    Raises:
        DataError: they are not there.
    """
    missing = [stage for stage in DATA if stage not in found]
    if not missing and ARRAYS.is_dir() and any(ARRAYS.iterdir()):
        return
    got = f"{missing[0]} would run" if missing else f"{ARRAYS} is not there"
    raise DataError(
        "an estimate times real steps on the tokenized data, and that is not ready",
        got=got,
        expected=f"{ARRAYS} as params.yaml asks for",
        hint="run `dvc repro tokenize`, then `baton estimate` again",
    )


def outputs(stage: str) -> list[str]:
    """Return the paths that a stage writes."""
    return dvc_files.outputs().get(stage, [])
