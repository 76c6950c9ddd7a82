"""The loss of several tasks that take turns: each batch has that of its own task, times a weight."""

from collections.abc import Mapping
from typing import NamedTuple, cast

import torch

from baton.contracts.batch import Batch
from baton.contracts.task_batch import TaskBatch
from baton.losses.loss import Loss, Model


class Weighted(NamedTuple):
    """The loss of a task, and its weight."""

    loss: Loss
    weight: float


def of(tasks: Mapping[str, Weighted]) -> Loss:
    """Return the loss of a `TaskBatch` of any of these tasks; with weight 1 it is the task's own."""

    def loss(model: Model, batch: Batch) -> torch.Tensor:
        own, weight = tasks[cast("TaskBatch", batch).task]
        return own(model, batch) * weight

    return loss
