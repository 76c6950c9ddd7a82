"""The seconds of a stage that trains, in parts, from what was timed. Pure functions.

A stage of several seeds answers for train and val only if a seed is the best so far. That is always so for
the first, half of the time for the second, and so on.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from baton import params
from baton.estimate.timing import Timed
from baton.fitting import jobs
from baton.runtime.resolve import MEASURED, Runtime

START, TRAINING, ANSWERS, WRITING = "start", "training", "answers", "writing"


def answered(of_best: int, of_others: int, seeds: int) -> float:
    """Return the expected number of tokens that are predicted after the training runs of `seeds` seeds.

    Args:
        of_best: tokens predicted if a seed is the best so far.
        of_others: tokens predicted otherwise.
        seeds: how many there are.
    """
    best = sum(1 / (place + 1) for place in range(seeds))
    return best * of_best + (seeds - best) * of_others


def notes(settings: params.Training, machine: Runtime) -> list[str]:
    """Return in which direction the estimate of a stage that trains may be wrong."""
    found = []
    if settings.early_stopping:
        found.append("at most so long: early_stopping may end it sooner")
    if machine.compile == MEASURED:
        found.append("at most so long: steps are timed without compilation, which runtime.compile may choose")
    return found


def stage(
    timed: Mapping[str, Timed],
    settings: params.Training,
    predicted: Mapping[str, float],
    start: float,
    writing: float,
    job: jobs.Job,
) -> dict[str, Any]:
    """Return the estimate of a stage that trains each of the models in `timed` for each seed.

    Args:
        timed: model -> what was timed.
        settings: of all seeds.
        predicted: model -> tokens that it predicts in the whole stage, see `answered`.
        start: seconds until the first training run.
        writing: seconds in which models and answers are written.
        job: of the stage.
    """
    between, device = job.checkpoints.seconds, job.runtime.device.type
    seeds = len(settings.seeds)
    seconds = {
        START: start,
        TRAINING: seeds * sum(own.seconds for own in timed.values()),
        ANSWERS: sum(own.predicting(1) * predicted[name] for name, own in timed.items()),
        WRITING: writing,
    }
    return {
        "seconds": sum(seconds.values()),
        "parts": seconds,
        "memory_bytes": max(own.peak(between, device) for own in timed.values()),
        "checkpoint_bytes": max(own.checkpoint * (own.seconds >= between) for own in timed.values()),
        "notes": notes(settings, job.runtime),
        "runs": {name: asdict(own) for name, own in timed.items()},
    }
