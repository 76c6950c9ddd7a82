"""A batch of one of several tasks: batches make it, the model picks a head by its task, the loss a task's."""

from dataclasses import dataclass
from typing import Any

import torch

from baton.contracts.batch import Batch

MAIN = "main"  # the task of the pipeline's own sections


@dataclass(frozen=True)
class TaskBatch:
    """The batch `own` of the task called `task`; see `Batch`."""

    task: str
    own: Batch

    @property
    def inputs(self) -> tuple[Any, ...]:
        """The inputs of `own`, and then the name of the task."""
        return *self.own.inputs, self.task

    @property
    def targets(self) -> torch.Tensor:
        """See `Batch`."""
        return self.own.targets

    @property
    def rows(self) -> torch.Tensor:
        """See `Batch`."""
        return self.own.rows

    @property
    def units(self) -> torch.Tensor:
        """See `Batch`."""
        return self.own.units

    @property
    def bounds(self) -> torch.Tensor | None:
        """See `Batch`."""
        return self.own.bounds

    @property
    def shape(self) -> tuple[int, int]:
        """See `Batch`."""
        return self.own.shape

    def __len__(self) -> int:
        return len(self.own)

    def pin_memory(self) -> "TaskBatch":
        """See `Batch`."""
        return TaskBatch(self.task, self.own.pin_memory())

    def to(self, device: torch.device) -> "TaskBatch":
        """See `Batch`."""
        return TaskBatch(self.task, self.own.to(device))
