"""What is tried, and what is stopped, as pure functions of earlier generations.

Trials are proposed a generation at a time. With a generation of g trials, trial k is of generation k // g.
Its values are a function of the study's seed, its number, the results of all trials of earlier generations,
and the values (not the results) of those before it in its own generation, which count as running. Whether it
is stopped, and at which validation, is a function of its own curve and the curves of complete trials of
earlier generations. Neither depends on the time at which anything ends, so with any number of workers, and
any number of kills, a study has the same trials with the same results, as long as training itself is
reproducible (the same machine type and number of threads).

Optuna proposes (Bergstra et al. 2011, a tree-structured Parzen estimator) and judges (a percentile pruner) in
a study that is made in memory for each call, from these trials alone.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.pruners import BasePruner, PercentilePruner
from optuna.samplers import BaseSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from baton import params
from baton.tune.space import Drawn, Space

DRAWS = 20  # of a trial whose values another one has


def first_of_generation(number: int, size: int) -> int:
    """Return the first trial of a trial's generation."""
    return number - number % size


def propose(
    number: int,
    space: Space,
    asked: params.Tune,
    direction: int,
    earlier: Sequence[FrozenTrial],
    together: Sequence[Drawn],
) -> dict[str, Any]:
    """Return the values of a trial.

    Args:
        number: of the trial.
        space: the distributions.
        asked: params `tune`.
        direction: 1 if higher is better, -1 if lower is.
        earlier: the trials of earlier generations, all of them ended.
        together: the values of those before it in its generation.
    """
    known = [*(dict(own.params) for own in earlier), *map(dict, together)]
    drawn: dict[str, Any] = {}
    for draw in range(DRAWS):
        sampler = TPESampler(seed=_seed(asked.seed, number, draw), n_startup_trials=asked.random)
        study = _study(direction, earlier, sampler=sampler)
        for values in together:
            study.add_trial(
                create_trial(state=TrialState.RUNNING, params=dict(values), distributions=dict(space))
            )
        drawn = dict(study.ask(dict(space)).params)
        if drawn not in known:
            break
    return drawn


def stopped_at(
    curve: Sequence[float], prune: params.Prune, direction: int, earlier: Sequence[FrozenTrial]
) -> int | None:
    """Return the first validation, from 0, after which a trial is stopped; None if it goes on.

    Args:
        curve: the figure at each validation so far.
        prune: params `tune.prune`.
        direction: 1 if higher is better, -1 if lower is.
        earlier: the trials of earlier generations, all of them ended.
    """
    pruner = PercentilePruner(
        100 * prune.keep, n_startup_trials=prune.trials, n_warmup_steps=prune.validations
    )
    study = _study(direction, earlier, pruner=pruner)
    for count in range(1, len(curve) + 1):
        own = create_trial(
            state=TrialState.RUNNING, intermediate_values=dict(enumerate(map(float, curve[:count])))
        )
        if pruner.prune(study, own):
            return count - 1
    return None


def _study(
    direction: int,
    trials: Sequence[FrozenTrial],
    sampler: BaseSampler | None = None,
    pruner: BasePruner | None = None,
) -> optuna.Study:
    """Return a study in memory with copies of trials, in the order of their numbers."""
    study = optuna.create_study(
        direction="maximize" if direction > 0 else "minimize", sampler=sampler, pruner=pruner
    )
    for own in sorted(trials, key=lambda trial: trial.number):
        study.add_trial(
            create_trial(
                state=own.state,
                value=own.value if own.state is TrialState.COMPLETE else None,
                params=dict(own.params),
                distributions=dict(own.distributions),
                intermediate_values=dict(own.intermediate_values),
            )
        )
    return study


def _seed(seed: int, number: int, draw: int) -> int:
    """Return a seed of 32 bits."""
    return int.from_bytes(hashlib.sha256(f"{seed} {number} {draw}".encode()).digest()[:4], "big")


def best(values: Mapping[int, float], direction: int, count: int) -> list[int]:
    """Return the numbers of the best trials, the best first; of equal ones the first."""
    return sorted(values, key=lambda number: (-direction * values[number], number))[:count]
