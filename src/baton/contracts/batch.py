"""A batch of samples, as the sampler makes it and the loop, the losses and the predictor read it."""

from typing import Any, Protocol

import torch


class Batch(Protocol):
    """Samples in the form that a model takes; read-only, so that a frozen dataclass fits."""

    @property
    def inputs(self) -> tuple[Any, ...]:
        """The arguments of the model: tensors, each (batch, …), or those of packed documents."""
        ...

    @property
    def targets(self) -> torch.Tensor:
        """The targets in the task's encoding.

        - classes: (batch,) int64, or shares of classes (batch, classes) float32 if samples are mixed.
        - labels: (batch, width) float32, 1 for the row's labels; between 0 and 1 if samples are mixed.
        - numbers: (batch, width) float64, in their unit.
        - a target for each unit that is read: (units,) int64.
        """
        ...

    @property
    def rows(self) -> torch.Tensor:
        """Positions in the split, (batch,) int64."""
        ...

    @property
    def units(self) -> torch.Tensor:
        """Positions of the model's outputs among those of the split, (outputs,) int64.

        They are `rows`, or units of rows: see `contracts.ragged.Units`.
        """
        ...

    @property
    def bounds(self) -> torch.Tensor | None:
        """The first output of each row among the model's, and the end, (batch + 1,) int64.

        None: there is one output per row, or a loss reads each by itself.
        """
        ...

    @property
    def shape(self) -> tuple[int, int]:
        """The size on which memory depends, (batch, length)."""
        ...

    def __len__(self) -> int: ...

    def pin_memory(self) -> "Batch":
        """Return a copy from which `to` does not block; torch's DataLoader calls this."""
        ...

    def to(self, device: torch.device) -> "Batch":
        """Copy to a device, asynchronously from pinned memory to CUDA."""
        ...
