"""Run one trial in this worker's private copy: stages up to the one that trains the tuned model.

`evaluate` is not among them: nothing of a trial reads test figures. (The stages that train write answers for
test, which nothing here opens.)

Input: claimed work -> its outcome; a complete one is a DVC experiment of the project.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from optuna.trial import TrialState

from baton import params, storage
from baton.errors import OutputError, ParamsError
from baton.params import editing
from baton.tracking import points
from baton.tune import curves, leftovers, space
from baton.tune.claims import FileClaims
from baton.tune.storages import STATE
from baton.tune.study import Outcome, Work
from baton.workspace import dvc_files, experiments, reproduction

MODELS = {"finetune": "teacher", "distill": "student"}  # of which the figures are, by the last stage
# Errors that a trial's own values cause: the trial has failed, and the next one is tried.
OWN_ERRORS = ("training diverged", "ran out of memory")
PREPARED = "tokenize"  # done by one worker of a machine at a time, so that it is done once


@dataclass
class Place:
    """Where a worker runs trials."""

    study: str
    copy: Path  # the project's root in its private copy
    stages: tuple[str, ...]  # ("finetune",) or ("finetune", "distill")
    asked: params.Tune
    metric: str
    text: str  # of params.yaml when the worker started; it may be edited meanwhile
    prepared: set[str] = field(default_factory=set)  # values of base and tokenize with which arrays are there

    @property
    def stage(self) -> str:
        """The stage that trains the tuned model."""
        return self.stages[-1]

    @property
    def model(self) -> str:
        """The tuned model."""
        return MODELS[self.stage]


def last_stage(ranges: Sequence[str]) -> Literal["finetune", "distill"]:
    """Return the stage whose model is tuned: `distill` if its keys are, else `finetune`."""
    return "distill" if any(key.startswith("distill.") for key in ranges) else "finetune"


def run(work: Work, place: Place, stops: Callable[[Sequence[float]], int | None]) -> Outcome:
    """Return the outcome of a trial or a repeat.

    `stops` says at which validation a curve is stopped, if at any. A trial that went on beyond that
    validation, since it was faster than this process, counts as stopped there.

    Raises:
        OutputError: a stage failed for a reason that is not the trial's.
    """
    began = time.time()
    changes = space.changes(work.values, place.asked.ranges)
    changes |= {f"{stage}.seeds": [_seed(work, place, stage)] for stage in place.stages}
    try:
        made = params.checked(editing.replaced(_raw(place), changes), Path("params.yaml of the trial"))
    except ParamsError as error:
        return _failed(error, began)
    with storage.atomic_file(place.copy / params.PATH) as temporary:
        temporary.write_text(editing.edited(place.text, changes), encoding="utf-8")
    watched = storage.state(STATE) / "points" / f"{experiment(work, place)}.jsonl"
    watched.unlink(missing_ok=True)
    try:
        whole = _stages(work, place, watched, stops)
    except OutputError as error:
        if any(own in str(error) for own in OWN_ERRORS):
            return _failed(error, began)
        raise
    return _outcome(work, place, watched, stops, whole, made, began)


def experiment(work: Work, place: Place) -> str:
    """Return the name of the DVC experiment."""
    return f"tune-{place.study}-{work.name}"


def log(work: Work, place: Place) -> Path:
    """Return the file with what the stages of a trial printed."""
    return storage.state(STATE) / "logs" / f"{experiment(work, place)}.log"


def _raw(place: Place) -> dict[str, Any]:
    raw: dict[str, Any] = params.parse(place.text, str(params.PATH))
    return raw


def _seed(work: Work, place: Place, stage: str) -> int:
    """Return the one seed of a stage: of a repeat its own, of a trial the first of the recipe."""
    return int(_raw(place)[stage]["seeds"][0]) if work.seed is None else work.seed


def _stages(work: Work, place: Place, watched: Path, stops: Callable[[Sequence[float]], int | None]) -> bool:
    """Run the stages; return False if training was stopped."""
    seen = 0

    def enough() -> bool:
        nonlocal seen
        size = watched.stat().st_size if watched.is_file() else 0
        if size == seen:
            return False
        seen = size
        so_far = curves.figures(curves.running(watched, place.model), place.metric)
        return stops(so_far) is not None

    path = log(work, place)
    path.parent.mkdir(parents=True, exist_ok=True)
    off = {"BATON_TRACKING": "off"}
    with path.open("w", encoding="utf-8") as file:
        _prepare(place, file, off)
        for stage in place.stages[:-1]:
            reproduction.reproduce(stage, place.copy, off, file)
        own = off | {points.VARIABLE: str(watched)}
        return reproduction.reproduce(place.stage, place.copy, own, file, enough)


def _prepare(place: Place, file: Any, variables: dict[str, str]) -> None:
    """Make the arrays, or take them from DVC's cache, while no other worker of this machine makes them."""
    raw = params.read_raw(place.copy / params.PATH)
    values = str([raw[section] for section in ("base", PREPARED)])
    if values not in place.prepared:
        with alone(PREPARED):
            reproduction.reproduce(PREPARED, place.copy, variables, file)
        place.prepared.add(values)


def alone(name: str) -> AbstractContextManager[None]:
    """Do something while no other worker of this project does it on this machine."""
    return FileClaims(storage.state(STATE)).held(f"{name}.lock")


def _outcome(
    work: Work,
    place: Place,
    watched: Path,
    stops: Callable[[Sequence[float]], int | None],
    whole: bool,
    made: params.Params,
    began: float,
) -> Outcome:
    table = place.copy / f"curves/{place.stage}.csv"
    curve = curves.written(table, place.model) if whole else curves.running(watched, place.model)
    figures = curves.figures(curve, place.metric)
    stopped = stops(figures)
    if stopped is not None:
        if not whole:
            leftovers.remove(place.stage, made, began)
        own = stopped + 1
        return Outcome(TrialState.PRUNED, None, figures[:own], curve[:own], time.time() - began)
    outputs = dvc_files.outputs(("metrics",))
    with alone("record"):
        kept = [path for stage in place.stages for path in outputs[stage]]
        name = experiment(work, place)
        experiments.record(place.copy, name, kept, "baton tune")
    best = storage.read_json(place.copy / f"metrics/{place.stage}.json")[place.model]
    value = float(best[f"{curves.VALIDATION}{place.metric}"])
    return Outcome(TrialState.COMPLETE, value, figures, curve, time.time() - began, name)


def _failed(error: ParamsError | OutputError, began: float) -> Outcome:
    return Outcome(TrialState.FAIL, None, (), (), time.time() - began, error=str(error))
