"""`baton tune`: search, show how far it is, or write the best values into params.yaml.

Input: params `tune`, and what `--storage` says -> DVC experiments, runs in MLflow, and reports/tune.
"""

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage
from rich.markup import escape

from baton import console, params, storage
from baton.contracts import task_spec
from baton.errors import OutputError, ParamsError
from baton.params import editing
from baton.processes import locks
from baton.tasks import task_figures
from baton.tasks.figure_scale import Scale
from baton.tune import mlflow_runs, report, running, space, storages, worker
from baton.tune import study as studies
from baton.tune.claims import Claims
from baton.tune.running import Place
from baton.tune.study import Study
from baton.workspace import private_copy, reproduction, stage_inputs
from baton.workspace.stage_inputs import Inputs

DIGITS = 8  # of the digest that is a study's name
BUDGET = ("trials", "minutes", "finalists", "seeds")  # a study goes on if these are changed


@dataclass(frozen=True)
class Plan:
    """What a study is, as params.yaml says."""

    name: str
    asked: params.Tune
    active: params.Params
    stages: tuple[str, ...]
    inputs: Inputs
    text: str  # of params.yaml
    recipe: Mapping[str, Any]  # the values of trial 0, as Optuna keeps them

    @property
    def metric(self) -> str:
        """The figure by which trials are judged."""
        return self.asked.metric or str(getattr(self.active, self.stages[-1]).metric)


def plan() -> Plan:
    """Return the plan.

    Raises:
        ParamsError: params.yaml is not valid, has no section `tune`, or does not fit its ranges.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    text, active = params.PATH.read_text(encoding="utf-8"), params.read()
    if active.tune is None:
        raise ParamsError(
            "there is nothing to tune",
            got="tune: null",
            expected="a section `tune` with ranges in params.yaml",
            hint="docs/tune.md shows one; recipes/quick.yaml has one",
        )
    raw, asked = params.read_raw(), active.tune
    space.check(raw, asked.ranges)
    last = running.last_stage(list(asked.ranges))
    inputs = stage_inputs.of(last)
    stages = ("finetune",) if last == "finetune" else ("finetune", "distill")
    recipe = space.of_recipe(raw, asked.ranges)
    return Plan(_name(raw, asked, inputs), asked, active, stages, inputs, text, recipe)


def _name(raw: Mapping[str, Any], asked: params.Tune, inputs: Inputs) -> str:
    """Return a digest of all that the results of trials depend on, but for the tuned values and the budget.

    So a study goes on when the budget grows, and is still the same when its best values are in params.yaml.
    """
    made = editing.replaced(raw, dict.fromkeys(asked.ranges))
    for stage in ("finetune", "distill"):
        made = editing.replaced(made, {f"{stage}.seeds": raw[stage]["seeds"][:1]})
    depends = {
        "files": inputs.digest(),
        "params": {section: made.get(section) for section in inputs.sections},
        "tune": asked.model_dump(mode="json", exclude=set(BUDGET)),
    }
    digest = hashlib.sha256(json.dumps(depends, sort_keys=True, default=str).encode()).hexdigest()
    return digest[:DIGITS]


def search(where: str | None) -> None:
    """Work on the study of params.yaml until it is done; several processes may do this at the same time.

    Raises:
        ParamsError: params.yaml is not valid or has no ranges, or git has no commit.
        OutputError: the storage cannot be used, or a stage fails for a reason that is not a trial's own.
    """
    private_copy.head()
    own = plan()
    kept, claims = storages.opened(where, own.name)
    with _copy(own) as place:
        study = _opened(own, kept, claims, _scale(own, place))
        console.say(
            f"tune: study {own.name}, {len(study.trials)} trials so far; each trains up to "
            f"{place.stage} and is judged by {own.metric} on validation: test is not looked at"
        )
        try:
            worker.work(study, place, own.recipe, own.active.tracking)
        except (KeyboardInterrupt, SystemExit):
            console.say("tune: stopped; the same command goes on from there")
            raise
        _tell(own, study)


def status(where: str | None) -> None:
    """Show how far the study is, and write its reports.

    Raises:
        OutputError: it has not begun.
    """
    own = plan()
    _tell(own, _existing(own, where))


def apply(where: str | None) -> None:
    """Write the values of the winner into params.yaml, where comments and other edits stay.

    Not by `dvc exp apply`: an experiment also holds the seed of its trial and the whole project as it was
    then, is only on the machine whose worker made it, and its weights are not kept.

    Raises:
        OutputError: the study has not begun or is not done, or no trial was complete.
    """
    own = plan()
    study = _existing(own, where)
    winner = study.winner()
    if not study.done or winner is None:
        raise OutputError(
            "there is no winner yet",
            got=f"{len(study.values)} complete trials, {len(study.repeats)} repeats of the best",
            expected="a study that is done",
            hint="`baton tune` goes on; a smaller `trials` in params.yaml ends the search",
        )
    values = dict(study.trials[winner].params)
    with storage.atomic_file(params.PATH) as temporary:
        made = space.changes(values, own.asked.ranges)
        temporary.write_text(editing.edited(own.text, made), encoding="utf-8")
    said = ", ".join(f"{key} {space.shown(value)}" for key, value in values.items())
    console.say(escape(f"params.yaml has the values of trial {winner}: {said}"))
    console.say("next: `baton repro` trains with them, and evaluates on test for the first time")


def _tell(own: Plan, study: Study) -> None:
    files = report.write(study)
    report.show(study)
    mlflow_runs.deliver(study, own.name, own.active.tracking, files)
    winner = study.winner()
    if study.done and winner is None:
        console.say("no trial and all its repeats were complete: `error` in trials.csv says why")
    elif study.done:
        console.say(
            f"trial {winner} is the best{', which is the recipe as it is' if winner == 0 else ''}; "
            f"next: `baton tune --apply`, and {escape(str(report.OUTPUT))} has pictures"
        )
    else:
        console.say("the study is not done: `baton tune` goes on")


def _existing(own: Plan, where: str | None) -> Study:
    kept, claims = storages.opened(where, own.name)
    scale = studies.noted(kept, own.name)
    if scale is None:
        raise OutputError(
            f"the study {own.name} has not begun",
            got="no trial with this code, these params and ranges",
            expected="a study that `baton tune` has begun",
            hint="`baton tune` begins it; with other code or params a study is another one",
        )
    return _opened(own, kept, claims, scale)


def _opened(own: Plan, kept: BaseStorage, claims: Claims, scale: Scale) -> Study:
    made = studies.opened(kept, claims, own.name, own.asked, space.distributions(own.asked.ranges), scale)
    studies.noted(kept, own.name, scale)
    return made


@contextlib.contextmanager
def _copy(own: Plan) -> Iterator[Place]:
    """Yield a private copy that no other worker uses, with the recipe's arrays in it."""
    folder = storage.state(storages.STATE) / "copies"
    folder.mkdir(parents=True, exist_ok=True)
    number, handle = next(
        (number, handle)
        for number in count()
        if (handle := locks.take(folder / f"{number}.lock")) is not None
    )
    try:
        copy = private_copy.prepare(folder / str(number), own.inputs.paths)
        yield Place(own.name, copy, own.stages, own.asked, own.metric, own.text)
    finally:
        locks.give(handle)


def _scale(own: Plan, place: Place) -> Scale:
    """Return the figure by which trials are judged, which needs the task that `preprocess` describes.

    Raises:
        ParamsError: the task has no such figure.
    """
    path = storage.state(storages.STATE) / "logs" / f"tokenize-{own.name}-{place.copy.name}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    with running.alone(running.PREPARED), path.open("w", encoding="utf-8") as file:
        reproduction.reproduce(running.PREPARED, place.copy, {"BATON_TRACKING": "off"}, file)
    figures = task_figures.of(task_spec.read_file(Path(place.copy, "data/clean")))
    if own.metric not in figures.directions:
        raise ParamsError(
            "tune.metric is no figure of this task",
            got=own.metric,
            expected=f"one of {', '.join(figures.directions)}, or null",
            hint="correct it in params.yaml",
        )
    share = figures.share and own.metric in figures.gated
    return Scale(own.metric, figures.directions[own.metric], share)
