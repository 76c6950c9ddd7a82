"""Time a few steps of a training run: the real loop, model, loss and batches, without a record.

Input: what trains, its settings and job. Output: `Timed`, from which `seconds` follow.
"""

import dataclasses
import gc
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from baton import params, tracking
from baton.batches import subset
from baton.batches.sampler import TrainingBatches
from baton.estimate import sampling
from baton.estimate.sampling import Planned
from baton.fitting import jobs, trainings
from baton.fitting.seed_choice import Figures
from baton.runtime import memory
from baton.train import resume

WARM_UP = 4  # steps that are not timed
FEWEST, MOST = 12, 200  # timed steps
SECONDS = 15.0  # of timed steps, if the limits above allow it
BATCHES = 6  # of validation

# The bytes of a checkpoint for each weight that is trained: the weights, the best ones, two moments of AdamW.
BYTES, AVERAGE = 16, 4  # and their moving average, if there is one

# Trains by `trainings.fit`, with the settings and the job that it gets; returns the training run's figures.
Fit = Callable[[params.Training, jobs.Job], Figures]


@dataclass(frozen=True)
class Timed:
    """The seconds of a sample of a training run, and what it stands for."""

    planned: Planned
    steps: int  # that were timed
    step_seconds: float  # of them together
    step_tokens: int
    validation_seconds: float  # on a part of val
    validation_tokens: int
    val_tokens: int  # of all of val
    rest: float  # seconds of all else: the model, the first pass, the last checkpoint
    memory: int  # bytes, peak while it was timed, when no checkpoint was written
    checkpoint: int  # bytes

    @property
    def seconds(self) -> float:
        """The whole training run's seconds, without predictions."""
        steps = self.planned.tokens * self.step_seconds / self.step_tokens
        return steps + self.planned.validations * self.predicting(self.val_tokens) + self.rest

    def peak(self, between: float, device: str) -> int:
        """Return the peak of memory, in bytes, if checkpoints are written every `between` seconds.

        Each is copied first, to the host's memory.
        """
        return self.memory + (self.checkpoint if device == "cpu" and self.seconds >= between else 0)

    def predicting(self, tokens: int) -> float:
        """Return the seconds in which so many tokens (for images, patches) are predicted."""
        return tokens * self.validation_seconds / self.validation_tokens


class Clock(tracking.Run):
    """Keeps when a training run's points were made, in place of a record."""

    def __init__(self) -> None:
        """Keep nothing yet."""
        self.trained: dict[int, float] = {}  # step -> seconds since 1970
        self.validated: dict[int, float] = {}

    def metrics(self, values: Mapping[str, float], step: int, time: int | None = None) -> None:
        """See `tracking.Run`; only points of the curve have a time."""
        if time is not None:
            validates = any(key.rpartition("/")[2].startswith("val_") for key in values)
            (self.validated if validates else self.trained)[step] = time / 1000


@dataclass(frozen=True)
class Rehearsal(jobs.Job):
    """A job whose training runs have a few steps; it keeps the batches of the whole run."""

    timed: int = 0  # steps after those that warm up
    wholes: list[TrainingBatches] = field(default_factory=list)

    def batches(self, settings: params.Training, smallest: int, packs: bool = False) -> TrainingBatches:
        """Return a sample of the real batches as an epoch."""
        whole = super().batches(settings, smallest, packs)
        assert isinstance(whole, TrainingBatches), "several tasks are not estimated"
        self.wholes.append(whole)
        return sampling.sample(whole, sampling.chosen(whole, WARM_UP, self.timed))


def time_training(fit: Fit, settings: params.Training, job: jobs.Job, seconds: float = SECONDS) -> Timed:
    """Train twice for a few steps: to find out how many steps to time, and to time them.

    Args:
        fit: trains a new model by `trainings.fit`, with the settings and job that it gets.
        settings: of one seed.
        job: of the stage.
        seconds: of timed steps; fewer or more if `FEWEST` or `MOST` steps take them.
    """
    _, clock, _, _ = _rehearsed(fit, settings, job, 2)
    last = max(clock.trained)
    each = (clock.trained[last] - clock.trained[WARM_UP]) / (last - WARM_UP)
    first = memory.peak_memory()
    gc.collect()
    count = int(np.clip(seconds / max(each, 1e-4), FEWEST, MOST))
    own, clock, took, figures = _rehearsed(fit, settings, job, count)
    whole = own.wholes[-1]
    steps = sampling.chosen(whole, WARM_UP, count)[WARM_UP:]
    begun, ended = clock.trained[WARM_UP], clock.trained[WARM_UP + len(steps)]
    spent, validating = ended - begun, clock.validated[WARM_UP + len(steps)] - ended
    part, val = own.data.splits["val"], job.data.splits["val"]
    return Timed(
        planned=sampling.planned(trainings.long_enough(settings, whole.steps_per_epoch), whole),
        steps=len(steps),
        step_seconds=spent,
        step_tokens=sampling.tokens(whole, steps),
        validation_seconds=validating,
        validation_tokens=int(np.sum(part.lengths)),
        val_tokens=int(np.sum(val.lengths)),
        rest=max(took - spent - validating - WARM_UP * spent / len(steps), 0.0),
        memory=max(first, memory.peak_memory()),
        checkpoint=int(figures["trained_parameters"]) * (BYTES + (AVERAGE if settings.ema else 0)),
    )


def _rehearsed(
    fit: Fit, settings: params.Training, job: jobs.Job, count: int
) -> tuple[Rehearsal, Clock, float, Figures]:
    """Train for `WARM_UP` and `count` steps; return the job, the clock, the seconds of all, and figures."""
    clock, val = Clock(), job.data.splits["val"]
    rows = sampling.some(val.lengths, BATCHES * job.at_once(settings))
    data = dataclasses.replace(job.data, splits=job.data.splits | {"val": subset.Part(val, rows)})
    own = {each.name: getattr(job, each.name) for each in dataclasses.fields(jobs.Job)}
    # Of its own, else it would go on from the checkpoint of the one before.
    saved = resume.StageCheckpoints(job.checkpoints.folder / f"timed_{count}", job.checkpoints.seconds)
    rehearsal = Rehearsal(**own | {"data": data, "run": clock, "checkpoints": saved}, timed=count)
    short = settings.model_copy(
        update={
            "epochs": 1,
            "min_steps": 0,
            "evaluations_per_epoch": 1,
            "early_stopping": None,
            "log_every": 1 if count < FEWEST else WARM_UP,
        }
    )
    begun = time.perf_counter()
    figures = fit(short, rehearsal)
    return rehearsal, clock, time.perf_counter() - begun, figures
