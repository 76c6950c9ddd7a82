"""A study of `baton tune` in MLflow: one parent run, and a child run for each trial that has ended.

Input: trials as the study keeps them. The store may be away for any time: what is missing is made at the next
call, and nothing twice. Models of trials are not logged.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mlflow.entities import Run

from baton import params
from baton.tracking.journal import now
from baton.tracking.pipelines import ERROR, KIND, NOTE, PARENT, error_note
from baton.tracking.store import Point, Store, open_store, usable

STUDY, TRIAL = "baton.study", "baton.trial"
ENDED = ("FINISHED", "KILLED", "FAILED")
FOLDER = "tune"  # of the parent's artifacts


@dataclass(frozen=True)
class Trial:
    """A trial that has ended, or the repeat of one with another seed."""

    name: str  # 007 or 007-seed1
    values: Mapping[str, Any]  # dotted keys of params.yaml
    status: Literal["FINISHED", "KILLED", "FAILED"]  # KILLED: stopped on its curve
    value: float | None
    curve: Sequence[Mapping[str, float]]  # one dict per validation, with its `step`
    start: int  # ms since 1970, as `end`
    end: int
    tags: Mapping[str, str]
    error: str | None


def deliver(
    settings: params.MlflowTracking,
    name: str,
    about: Mapping[str, Any],
    trials: Sequence[Trial],
    done: bool,
    files: Sequence[Path] = (),
) -> str:
    """Bring the store in line with a study; return the id of the parent run.

    Only one worker may do this at a time.

    Args:
        settings: which store and experiment.
        name: of the study.
        about: params of the parent run.
        trials: all that have ended.
        done: whether the study has ended.
        files: artifacts of the parent run.

    Raises:
        TrackingError: the store cannot be used.
    """
    store = open_store(settings)
    with usable(store.client.tracking_uri):
        parent = _parent(store, name, about)
        children = {run.data.tags[TRIAL]: run for run in _children(store, parent)}
        for own in trials:
            known = children.get(own.name)
            if known is None or known.info.status not in ENDED:
                _child(store, parent, name, own, known)
        store.send(_best(parent, trials))
        for file in files:
            store.client.log_artifact(parent, str(file), FOLDER)
        if done:
            store.client.set_terminated(parent, "FINISHED")
        else:
            store.client.update_run(parent, status="RUNNING")
    return parent


def _parent(store: Store, name: str, about: Mapping[str, Any]) -> str:
    found = store.runs(f"tags.`{KIND}` = 'study' AND tags.`{STUDY}` = '{name}'", limit=1)
    if found:
        run = str(found[0].info.run_id)
    else:
        run = store.create_run(f"tune {name}", {KIND: "study", STUDY: name}, now())
    store.complete(run, about)
    return run


def _children(store: Store, parent: str) -> list[Run]:
    return store.runs(f"tags.`{PARENT}` = '{parent}' AND tags.`{KIND}` = 'trial'", limit=10_000)


def _child(store: Store, parent: str, study: str, own: Trial, known: Run | None) -> None:
    """Make the run of a trial, or complete the one that a killed worker has begun."""
    tags = {KIND: "trial", STUDY: study, TRIAL: own.name, PARENT: parent, **own.tags}
    if own.error is not None:
        tags |= {ERROR: own.error, NOTE: error_note(own.error)}
    if known is None:
        run = store.create_run(f"trial {own.name}", tags, own.start)
    else:
        run = str(known.info.run_id)
        store.log(run, tags=tags)
    store.complete(run, own.values)
    store.send(_points(run, own))
    store.client.set_terminated(run, own.status, own.end)


def _points(run: str, own: Trial) -> Iterable[Point]:
    for row in own.curve:
        for key, value in row.items():
            if key != "step":
                yield Point(run, key, value, int(row["step"]), own.end)
    if own.value is not None:
        yield Point(run, "value", own.value, 0, own.end)


def _best(parent: str, trials: Sequence[Trial]) -> Iterable[Point]:
    """Yield the figure of each trial, with its number as the step."""
    for own in trials:
        if own.value is not None and own.name.isdigit():
            yield Point(parent, "value", own.value, int(own.name), own.end)
