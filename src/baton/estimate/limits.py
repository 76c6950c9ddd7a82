"""What is not estimated, and why: nothing is printed that was not measured. Pure functions."""

import numpy as np
import torch
from numpy.typing import NDArray

from baton import params
from baton.contracts.task_spec import Sequence, TaskSpec
from baton.fitting import jobs, teaching

LOOPS = ("full", "top", "gradual", "lora", "rows")  # strategies that are one training run on train


def of_machine(wanted: params.Runtime) -> str | None:
    """Return why no stage that trains is estimated with this section `runtime`, or None."""
    devices = torch.cuda.device_count() if wanted.device != "cpu" else 0
    processes = max(devices, 1) if wanted.processes == "auto" else wanted.processes
    if wanted.launcher or processes > 1:
        return "steps are timed in one process, and runtime asks for several"
    return "the model is split over processes" if wanted.sharding == "full" else None


def of_task(task: TaskSpec) -> str | None:
    """Return why no stage of a task is estimated, or None."""
    if isinstance(task, Sequence):
        return "how long the texts are that a model writes is known only when it is trained"
    return None


def of_finetune(settings: params.Finetune, tasks: params.Tasks) -> str | None:
    """Return why the training of the teacher is not estimated, or None; its strategy is settled."""
    if tasks:
        return "several tasks take turns"
    if settings.episodes is not None:
        return "it is tested on episodes of other classes"
    kind = settings.strategy.kind
    if kind == "auto":
        return "cross-validation chooses the strategy, since train has few rows"
    return None if kind in LOOPS else f"strategy {kind} is not a training run of a known number of steps"


def of_evaluate(active: params.Params) -> str | None:
    """Return why `evaluate` is not estimated, or None."""
    if active.tasks:
        return "it also reads answers of the other tasks"
    if active.finetune.episodes is not None:
        return "it also reads figures of episodes"
    return None


def of_distill(settings: params.Distill, data: jobs.Data) -> str | None:
    """Return why the training of student and control is not estimated, or None."""
    if settings.features:
        return "distill.features reads the teacher's features of all of train first"
    if teaching.needed(settings, data):
        return "what the student is taught (rows without labels, distill.knowledge) is found out first"
    return None


def settled(settings: params.Finetune, units: NDArray[np.int64]) -> params.Finetune:
    """Return the settings with the strategy that `auto` takes if that needs no cross-validation.

    `units` are those of train's rows, (rows,), see `fitting.small_data`.
    """
    asked = settings.strategy
    if not isinstance(asked, params.AutoStrategy):
        return settings
    if len(units) > asked.rows or len(np.unique(units)) == 1:
        return settings.model_copy(update={"strategy": asked.among[-1]})
    return settings
