"""One study in Optuna's storage: which trials there are, who works on which, and what they came to.

All that workers share is here. A worker asks for something to do, does it, and says what came of it:

    work = study.next(budget)      # a Trial or a Repeat, claimed by this worker; None: wait, or all is done
    study.ended(work, ...)

Trials are created one generation at a time, in order, under a lock, so that the number of a trial is its
place in the study. A trial that a dead worker left as running is taken up again, under the same number.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.study import Study as Kept
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from baton import params
from baton.tasks.figure_scale import Scale
from baton.tune import proposals
from baton.tune.claims import Claims, Release
from baton.tune.space import Drawn, Space

PLAN = "plan"  # the lock under which trials are created and given out
OF, SEED = "trial", "seed"  # what a repeat repeats, and with which seed
CURVE, SECONDS, ERROR, EXPERIMENT = "curve", "seconds", "error", "experiment"
ENDED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


@dataclass(frozen=True)
class Work:
    """A trial, or the repeat of one with another seed, that this worker has claimed."""

    number: int  # of the trial
    seed: int | None  # of a repeat
    values: Drawn
    earlier: tuple[FrozenTrial, ...]  # trials of earlier generations
    kept: Kept
    id: int
    release: Release

    @property
    def name(self) -> str:
        """What it is in the study."""
        return f"{self.number:03}" if self.seed is None else f"{self.number:03}-seed{self.seed}"


@dataclass(frozen=True)
class Outcome:
    """What a trial or a repeat came to."""

    state: TrialState
    value: float | None  # the figure at the best validation, if it is complete
    figures: Sequence[float]  # the figure at each validation
    curve: Sequence[Mapping[str, float]]  # step, and all figures of each validation
    seconds: float
    experiment: str | None = None  # the DVC experiment
    error: str | None = None


class Study:
    """The study, and the second one with the repeats of its best trials."""

    def __init__(
        self, kept: tuple[Kept, Kept], claims: Claims, asked: params.Tune, space: Space, scale: Scale
    ) -> None:
        """Use `opened`."""
        self.trials_kept, self.repeats_kept = kept
        self.claims, self.asked, self.space, self.scale = claims, asked, space, scale

    @property
    def trials(self) -> list[FrozenTrial]:
        """All trials, in order."""
        return self.trials_kept.get_trials(deepcopy=False)

    @property
    def repeats(self) -> list[FrozenTrial]:
        """The repeats of the best trials, in order."""
        return self.repeats_kept.get_trials(deepcopy=False)

    def next(self, recipe: Drawn) -> Work | None:
        """Claim something to do; None if there is nothing that this worker could do now.

        `recipe` are the values of trial 0.
        """
        with self.claims.held(PLAN):
            found = self._claimed(self.trials_kept, self.trials)
            if found is None and self._plan(recipe):
                found = self._claimed(self.trials_kept, self.trials)
            if found is None and self.searched:
                self._plan_repeats()
                wanted = set(self._wanted())
                found = self._claimed(
                    self.repeats_kept, [own for own in self.repeats if _repeat(own) in wanted]
                )
            return found

    @property
    def spent(self) -> float:
        """The seconds that trials took, over all workers."""
        return float(sum(own.user_attrs.get(SECONDS, 0.0) for own in self.trials))

    @property
    def open(self) -> bool:
        """Whether the budget allows another trial to start."""
        asked, started = self.asked, sum(own.state is not TrialState.WAITING for own in self.trials)
        return (asked.trials is None or started < asked.trials) and (
            asked.minutes is None or self.spent < 60 * asked.minutes
        )

    @property
    def searched(self) -> bool:
        """Whether all trials have ended, and no other starts."""
        return not self.open and all(own.state is not TrialState.RUNNING for own in self.trials)

    @property
    def done(self) -> bool:
        """Whether nothing is left to do."""
        wanted = self._wanted() if self.searched else ()
        known = {_repeat(own) for own in self.repeats if own.state in ENDED}
        return self.searched and known >= set(wanted)

    def finalists(self) -> list[int]:
        """Return the best trials, the best first, and trial 0, which is the recipe as it is."""
        found = proposals.best(self.values, self.scale.direction, self.asked.finalists)
        return found if 0 in found or 0 not in self.values else [*found, 0]

    @property
    def values(self) -> dict[int, float]:
        """The figures of complete trials, by number."""
        return {own.number: own.value for own in self.trials if own.value is not None and _complete(own)}

    def repeated(self) -> dict[int, list[float]]:
        """Return the figures of complete repeats, by the number of the trial, in the order of seeds."""
        found: dict[int, dict[int, float]] = {number: {} for number in self.finalists()}
        for own in self.repeats:
            number, seed = _repeat(own)
            if _complete(own) and own.value is not None and number in found:
                found[number][seed] = own.value
        return {
            number: [own[seed] for seed in self.asked.seeds if seed in own] for number, own in found.items()
        }

    def winner(self) -> int | None:
        """Return the trial of the best mean over seeds; without seeds, of the best figure."""
        if not self.asked.seeds:
            return next(iter(self.finalists()), None)
        whole = {key: own for key, own in self.repeated().items() if len(own) == len(self.asked.seeds)}
        means = {number: sum(own) / len(own) for number, own in whole.items()}
        return next(iter(proposals.best(means, self.scale.direction, 1)), None)

    def ended(self, work: Work, outcome: Outcome) -> None:
        """Record what came of claimed work, and give it back.

        It ends with its state: a worker that is killed before has changed nothing that counts.
        """
        kept = work.kept._storage
        notes = {
            CURVE: list(map(dict, outcome.curve)),
            SECONDS: round(outcome.seconds, 3),
            ERROR: outcome.error,
            EXPERIMENT: outcome.experiment,
        }
        try:
            for place, value in enumerate(outcome.figures):
                kept.set_trial_intermediate_value(work.id, place, float(value))
            for key, note in notes.items():
                kept.set_trial_user_attr(work.id, key, note)
            values = None if outcome.value is None else [float(outcome.value)]
            kept.set_trial_state_values(work.id, outcome.state, values)
        except UpdateFinishedTrialError:  # by a worker that took it up when this one seemed dead
            pass
        work.release()

    def _claimed(self, kept: Kept, there: Sequence[FrozenTrial]) -> Work | None:
        """Claim a trial whose worker is dead, else one that waits."""
        running = [own for own in there if own.state is TrialState.RUNNING]
        waiting = [own for own in there if own.state is TrialState.WAITING]
        if kept is self.trials_kept and not self.open:
            waiting = []
        for own in (*running, *waiting):
            number, seed = _repeat(own) if SEED in own.user_attrs else (own.number, None)
            release = self.claims.take(f"{'repeat' if seed is not None else 'trial'}-{own.number}")
            if release is None:
                continue
            if kept._storage.get_trial(own._trial_id).state in ENDED:  # since `there` was read
                release()
                continue
            if own.state is TrialState.WAITING:
                kept._storage.set_trial_state_values(own._trial_id, TrialState.RUNNING)
            values = dict(own.params)
            return Work(number, seed, values, self._earlier(number), kept, own._trial_id, release)
        return None

    def _earlier(self, number: int) -> tuple[FrozenTrial, ...]:
        first = proposals.first_of_generation(number, self.asked.generation)
        return tuple(self.trials[:first])

    def _plan(self, recipe: Drawn) -> bool:
        """Create the trials of the next generation, if it can begin; return whether there are any."""
        there, size = self.trials, self.asked.generation
        first = proposals.first_of_generation(len(there), size)
        if not self.open or any(own.state not in ENDED for own in there[:first]):
            return False
        last = min(first + size, self.asked.trials or first + size)
        together = [dict(own.params) for own in there[first:]]
        for number in range(len(there), last):
            values = (
                dict(recipe)
                if number == 0
                else proposals.propose(
                    number, self.space, self.asked, self.scale.direction, there[:first], together
                )
            )
            together.append(values)
            self._add(self.trials_kept, values, {})
        return last > len(there)

    def _plan_repeats(self) -> None:
        known = {_repeat(own) for own in self.repeats}
        for number, seed in self._wanted():
            if (number, seed) not in known:
                self._add(self.repeats_kept, dict(self.trials[number].params), {OF: number, SEED: seed})

    def _wanted(self) -> list[tuple[int, int]]:
        return [(number, seed) for seed in self.asked.seeds for number in self.finalists()]

    def _add(self, kept: Kept, values: Drawn, notes: Mapping[str, int]) -> None:
        kept.add_trial(
            create_trial(
                state=TrialState.WAITING,
                params=dict(values),
                distributions=dict(self.space),
                user_attrs=dict(notes),
            )
        )


def _complete(own: FrozenTrial) -> bool:
    return own.state is TrialState.COMPLETE


def _repeat(own: FrozenTrial) -> tuple[int, int]:
    return int(own.user_attrs[OF]), int(own.user_attrs[SEED])


def opened(
    kept: BaseStorage, claims: Claims, name: str, asked: params.Tune, space: Space, scale: Scale
) -> Study:
    """Return a study, created if it is not there; `name` is a digest of all that its trials depend on."""
    direction = StudyDirection.MAXIMIZE if scale.direction > 0 else StudyDirection.MINIMIZE

    def of(own: str) -> Kept:
        return optuna.create_study(storage=kept, study_name=own, direction=direction, load_if_exists=True)

    with claims.held(PLAN):
        return Study((of(name), of(f"{name}-repeats")), claims, asked, space, scale)


def noted(kept: BaseStorage, name: str, scale: Scale | None = None) -> Scale | None:
    """Return the figure of a study that is there; write it if it is given."""
    names = optuna.get_all_study_names(kept)
    if name not in names:
        return None
    own = optuna.load_study(study_name=name, storage=kept)
    if scale is not None:
        own.set_user_attr("figure", json.dumps(vars(scale)))
    found = own.user_attrs.get("figure")
    return Scale(**json.loads(found)) if found else None
