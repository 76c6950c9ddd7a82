"""Batches whose tensors are all copied alike, to pinned memory or to a device."""

import dataclasses
from collections.abc import Callable
from typing import Any, Self

import torch

Change = Callable[[torch.Tensor], torch.Tensor]


class Movable:
    """The base of a batch that is a frozen dataclass: `pin_memory` and `to` of `contracts.batch.Batch`.

    A field is a tensor, None, or has `made_of` itself.
    """

    def pin_memory(self) -> Self:
        """See `Batch`."""
        return self.made_of(torch.Tensor.pin_memory)

    def to(self, device: torch.device) -> Self:
        """See `Batch`."""
        return self if device.type == "cpu" else self.made_of(lambda part: part.to(device, non_blocking=True))

    def made_of(self, change: Change) -> Self:
        """Return a copy with `change` applied to all tensors."""
        fields: Any = dataclasses.fields(self)  # type: ignore[arg-type]  # of the dataclass that inherits this
        return type(self)(*(_changed(getattr(self, field.name), change) for field in fields))


def _changed(part: Any, change: Change) -> Any:
    if part is None:
        return None
    return change(part) if isinstance(part, torch.Tensor) else part.made_of(change)
