"""Run experiments in the private copy, one after the other; what is done stays done.

Input: experiments -> DVC experiments of the project, and what they cost, in its `.baton/compare/`.
"""

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from rich.markup import escape

from baton import console, params, storage
from baton.compare.plan import Experiment
from baton.contracts import training_costs
from baton.errors import BatonError
from baton.params import editing
from baton.workspace import dvc_files, experiments, reproduction, weights

STATE = "compare"  # the folder in the project's state


@dataclass(frozen=True)
class Place:
    """Where experiments run."""

    copy: Path  # the project's root in its private copy
    stages: tuple[str, ...]  # each is run with all that it depends on
    track: bool  # whether the runs appear in MLflow
    models: bool  # whether DVC's cache keeps the trained weights
    text: str  # of params.yaml when the experiments were planned; it may be edited meanwhile


@dataclass
class Progress:
    """How far a comparison is."""

    total: int
    cached: int
    seconds: list[float] = field(default_factory=list)  # of the experiments done now
    failed: dict[str, str] = field(default_factory=dict)  # experiment -> what its log says

    @property
    def left(self) -> int:
        """The number of experiments that are still to run."""
        return self.total - self.cached - len(self.seconds) - len(self.failed)

    def time_left(self) -> str:
        """Return in words how long the rest takes if it is like what was done now."""
        if not self.left or not self.seconds:
            return ""
        minutes = self.left * sum(self.seconds) / len(self.seconds) / 60
        return f", about {minutes:,.0f} min left" if minutes >= 1 else ", less than a minute left"


def run_all(
    todo: Sequence[Experiment], cached: int, place: Place, finished: Callable[[Experiment, str], str]
) -> Progress:
    """Run experiments; go on after one that fails.

    Args:
        todo: the experiments.
        cached: how many others are done already.
        place: where they run.
        finished: called with each and its commit; returns what it came to, in words. If it raises an error,
            no other is run.
    """
    progress = Progress(len(todo) + cached, cached)
    for one in todo:
        number = progress.total - progress.left + 1
        console.say(f"[{number}/{progress.total}] {escape(one.said)}")
        if place.models:
            weights.check_room(place.copy, progress.left)
        start, began = time.monotonic(), time.time()
        try:
            commit = run(one, place)
        except BatonError as error:
            progress.failed[one.name] = str(error)
            console.warn(one.name, error)
            continue
        said = finished(one, commit)
        if not place.models:
            weights.forget(commit, place.stages, began)
        progress.seconds.append(time.monotonic() - start)
        console.say(f"    {escape(said)} in {progress.seconds[-1]:,.0f} s{progress.time_left()}")
    return progress


def run(one: Experiment, place: Place) -> str:
    """Reproduce the stages with the experiment's params; return the commit of the DVC experiment.

    Raises:
        OutputError: a stage failed.
    """
    target = place.copy / params.PATH
    with storage.atomic_file(target) as temporary:
        temporary.write_text(editing.edited(place.text, one.changes), encoding="utf-8")
    log = logged(one)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as file:
        for stage in place.stages:
            _reproduce(stage, place, costs(one, stage), file)
            _share_costs(stage, place, costs(one, stage))
    kept = dvc_files.outputs(("metrics",))
    outputs = [path for stage in place.stages for path in kept[stage]]
    return experiments.record(place.copy, one.name, outputs, "baton compare")


def logged(one: Experiment) -> Path:
    """Return the file with what the stages of an experiment printed."""
    return storage.state(STATE) / "logs" / f"{one.name}.log"


def costs(one: Experiment, stage: str) -> Path:
    """Return the file to which a stage writes what the training runs of an experiment cost."""
    return storage.state(STATE) / "costs" / f"{one.name}.{stage}.json"


def read_costs(one: Experiment, stage: str) -> Mapping[str, Any]:
    """Return what a stage wrote; empty if it wrote nothing, because its outputs came from DVC's cache."""
    return storage.read_state(costs(one, stage))


def _share_costs(stage: str, place: Place, target: Path) -> None:
    """Keep what a stage's run cost for other experiments with the same run, which DVC then skips for them."""
    entry = params.read_raw(place.copy / dvc_files.LOCK)["stages"][stage]
    digest = hashlib.sha256(json.dumps(entry, sort_keys=True, default=str).encode()).hexdigest()
    shared = target.parent / "runs" / f"{digest}.json"
    for known, missing in ((target, shared), (shared, target)):
        if (content := storage.read_state(known)) and not missing.is_file():
            storage.write_json(missing, content)


def _reproduce(stage: str, place: Place, target: Path, log: IO[str]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    variables = {training_costs.VARIABLE: str(target)} | ({} if place.track else {"BATON_TRACKING": "off"})
    reproduction.reproduce(stage, place.copy, variables, log)
