"""A worker: claim, run, record, until nothing is left; stopped or killed, another one goes on.

Input: a study and a private copy -> trials that have ended.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from optuna.trial import TrialState
from rich.markup import escape

from baton import console, params
from baton.errors import OutputError
from baton.tune import mlflow_runs, proposals, running, space
from baton.tune.running import Place
from baton.tune.space import Drawn
from baton.tune.study import ENDED, Outcome, Study, Work
from baton.workspace import experiments, weights

ATTEMPTS = (
    3  # at a trial that fails for a reason that is not its own, such as a dead worker's stage that ends
)
PAUSE_SECONDS = 5.0  # before another attempt
POLL_SECONDS = 1.0  # between looks for something to do


@dataclass
class Progress:
    """How fast this worker is."""

    seconds: list[float] = field(default_factory=list)

    def said(self, study: Study) -> str:
        """Return in words how fast trials are, and how long the rest takes for this worker alone."""
        mean = sum(self.seconds) / len(self.seconds)
        left = _left(study)
        rest = f", about {left * mean / 60:,.0f} min left for one worker" if left else ""
        return f"{mean:,.0f} s a trial{rest}"


def work(study: Study, place: Place, recipe: Drawn, settings: params.Tracking) -> None:
    """Work until the study is done.

    Raises:
        OutputError: a stage failed again and again for a reason that is not the trial's own.
    """
    progress, reachable = Progress(), True
    while not study.done:
        own = study.next(recipe)
        if own is None:
            if not study.done:
                time.sleep(POLL_SECONDS)
            continue
        console.say(_heading(own, study))
        began = time.time()
        try:
            outcome = _attempted(own, place, study)
            study.ended(own, outcome)
        except BaseException:
            own.release()
            raise
        _forget(place, outcome, began)
        progress.seconds.append(outcome.seconds)
        console.say(f"    {escape(_said(outcome, study))}; {progress.said(study)}")
        reachable = reachable and mlflow_runs.deliver(study, place.study, settings)


def _attempted(own: Work, place: Place, study: Study) -> Outcome:
    asked = study.asked
    judged = asked.prune is not None and own.number > 0 and own.seed is None

    def stops(curve: Sequence[float]) -> int | None:
        if not judged or not curve:
            return None
        assert asked.prune is not None
        return proposals.stopped_at(curve, asked.prune, study.scale.direction, own.earlier)

    for attempt in range(1, ATTEMPTS + 1):
        try:
            return running.run(own, place, stops)
        except OutputError as error:
            if attempt == ATTEMPTS:
                raise
            console.warn(f"trial {own.name}", f"{error}; it is tried again")
            time.sleep(attempt * PAUSE_SECONDS)
    raise AssertionError("the last attempt returns or raises")


def _forget(place: Place, outcome: Outcome, began: float) -> None:
    """Remove the weights of a trial from DVC's cache; those that all trials share stay."""
    if outcome.experiment is None:
        return
    shared = () if any(not key.startswith("distill.") for key in place.asked.ranges) else ("finetune",)
    commit = experiments.known().get(outcome.experiment)
    if commit is not None:
        weights.forget(commit, [stage for stage in place.stages if stage not in shared], began)


def _heading(own: Work, study: Study) -> str:
    ended = sum(one.state in ENDED for one in study.trials)
    total = study.asked.trials or "?"
    if own.seed is not None:
        return f"[repeat] trial {own.number} with seed {own.seed}"
    values = ", ".join(f"{key} {space.shown(value)}" for key, value in own.values.items())
    named = "the recipe as it is" if own.number == 0 else values
    return f"[{ended + 1}/{total}] trial {own.number}: {escape(named)}"


def _said(outcome: Outcome, study: Study) -> str:
    scale = study.scale
    match outcome.state:
        case TrialState.COMPLETE:
            assert outcome.value is not None
            best = proposals.best(study.values, scale.direction, 1)
            said = f", best {scale.value(study.values[best[0]], 2)} (trial {best[0]})" if best else ""
            return f"{scale.name} {scale.value(outcome.value, 2)} in {outcome.seconds:,.0f} s{said}"
        case TrialState.PRUNED:
            shown = scale.value(outcome.figures[-1], 2)
            return f"stopped after validation {len(outcome.figures)} with {scale.name} {shown}"
        case _:
            return f"failed: {' '.join((outcome.error or '').split())[:300]}"


def _left(study: Study) -> int:
    """Return how many trials and repeats are still to do, if their number is known."""
    asked = study.asked
    if asked.trials is None:
        return 0
    trials = asked.trials - sum(own.state in ENDED for own in study.trials)
    repeats = (min(asked.finalists, asked.trials) + 1) * len(asked.seeds)
    return max(trials, 0) + max(repeats - sum(own.state in ENDED for own in study.repeats), 0)
