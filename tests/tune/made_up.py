"""Studies whose trials need no training: the result is a function of the values."""

import random
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from baton import params
from baton.tasks.figure_scale import Scale
from baton.tune import proposals, space, storages, study
from baton.tune.study import Outcome, Study, Work

ACCURACY = Scale("accuracy", 1, True)
RATE, WORD = "finetune.learning_rate", "finetune.schedule"
RECIPE = {RATE: 1e-3, WORD: '"linear"'}


def asked(**changes: Any) -> params.Tune:
    """Params of a study of two keys."""
    own: dict[str, Any] = {
        "ranges": {
            WORD: {"kind": "choice", "values": ("linear", "cosine")},
            RATE: {"kind": "float", "low": 1e-5, "high": 1.0, "log": True, "step": None},
        },
        "metric": None,
        "trials": 12,
        "minutes": None,
        "generation": 4,
        "random": 4,
        "seed": 3,
        "prune": {"keep": 0.5, "trials": 3, "validations": 0},
        "finalists": 2,
        "seeds": (7, 8),
    }
    return params.Tune.model_validate(own | changes)


def open_study(path: Path, own: params.Tune, name: str = "made") -> Study:
    """Open the study that a file keeps, as a worker does."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    kept, claims = storages.opened(str(path), name)
    return study.opened(kept, claims, name, own, space.distributions(own.ranges), ACCURACY)


def figure(values: Any, seed: int | None = None) -> float:
    """Best at a rate of 0.02, and a little better with the cosine; a repeat adds a bit of luck."""
    import math

    luck = 0.0 if seed is None else random.Random(f"{seed} {sorted(values.items())}").uniform(-0.02, 0.02)
    return 0.9 - 0.1 * abs(math.log10(values[RATE]) + 1.7) + 0.01 * (values[WORD] == '"cosine"') + luck


def outcome(work: Work, own: params.Tune) -> Outcome:
    """Train: three validations, of which the last is the best."""
    value = figure(work.values, work.seed)
    figures = [value - 0.2, value - 0.05, value]
    stopped = None
    if work.number and work.seed is None and own.prune is not None:
        stopped = proposals.stopped_at(figures, own.prune, 1, work.earlier)
    if stopped is not None:
        figures = figures[: stopped + 1]
    curve = [{"step": 10 * place, "val_accuracy": one} for place, one in enumerate(figures, 1)]
    if stopped is not None:
        return Outcome(TrialState.PRUNED, None, figures, curve, 1.0)
    return Outcome(TrialState.COMPLETE, value, figures, curve, 1.0, f"tune-made-{work.name}")


def finish(path: Path, own: params.Tune, workers: int = 1, kills: float = 0.0, seed: int = 0) -> Study:
    """Work until the study is done; return it.

    Each worker has one thing at hand. A random one of them ends it, or is killed: then its locks are free,
    and what it had is still marked as running.
    """
    draw = random.Random(seed)
    busy: list[tuple[Study, Work]] = []
    free = [open_study(path, own) for _ in range(workers)]
    while True:
        draw.shuffle(free)
        for one in list(free):
            work = one.next(RECIPE)
            if work is not None:
                free.remove(one)
                busy.append((one, work))
        if not busy:
            assert free[0].done
            return free[0]
        one, work = busy.pop(draw.randrange(len(busy)))
        if draw.random() < kills:
            work.release()
            free.append(open_study(path, own))
        else:
            one.ended(work, outcome(work, own))
            free.append(one)


def told(found: list[FrozenTrial]) -> list[Any]:
    """All that counts of trials."""
    return [(own.number, own.state, own.values, own.params, own.intermediate_values) for own in found]
