"""Losses as functions `(model, batch) -> loss`.

A loss is the mean over the batch's samples, so losses of micro-batches, weighted by their size, add up to the
loss of the whole batch.
"""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional


class Batch(Protocol):
    """What a loss needs from a batch; read-only, so that a frozen dataclass fits."""

    @property
    def inputs(self) -> tuple[Any, ...]:
        """The arguments of the model."""
        ...

    @property
    def labels(self) -> torch.Tensor:
        """Classes (batch,), or class probabilities (batch, classes)."""
        ...

    @property
    def rows(self) -> torch.Tensor:
        """Positions in the split, (batch,)."""
        ...


Model = Callable[..., torch.Tensor]
Loss = Callable[[Model, Batch], torch.Tensor]


def balanced_weights(labels: NDArray[np.int64], classes: int) -> torch.Tensor:
    """Return one weight per class, (classes,), inverse to its frequency; their mean over the samples is 1."""
    counts = np.bincount(labels, minlength=classes)
    return torch.tensor(len(labels) / (classes * np.maximum(counts, 1)), dtype=torch.float32)


def cross_entropy(
    label_smoothing: float, weights: torch.Tensor | None, of_rows: torch.Tensor | None = None
) -> Loss:
    """Return cross-entropy with label smoothing, weights of classes (classes,) and of rows (train rows,)."""

    def loss(model: Model, batch: Batch) -> torch.Tensor:
        return supervised(
            own(model(*batch.inputs), batch), batch.labels, label_smoothing, weights, chosen(of_rows, batch)
        )

    return loss


def own(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Return the logits of the batch's own samples, (batch, classes).

    Logits of padding samples, which fill the inputs up to a fixed shape, come after them and are dropped.
    """
    return logits if len(logits) == len(batch.labels) else logits[: len(batch.labels)]


def chosen(of_rows: torch.Tensor | None, batch: Batch) -> torch.Tensor | None:
    """Return the weights of the batch's rows, (batch,)."""
    return None if of_rows is None else of_rows[batch.rows]


def supervised(
    logits: torch.Tensor,
    labels: torch.Tensor,
    label_smoothing: float,
    weights: torch.Tensor | None,
    of_rows: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return the mean loss over samples, computed in fp32.

    Logits are (batch, classes); labels are classes (batch,) or class probabilities (batch, classes);
    `of_rows` is (batch,).
    """
    # Divide the sum by samples: the divisor of torch's weighted mean depends on the batch, so losses of
    # micro-batches would not add up.
    if of_rows is None:
        total = functional.cross_entropy(
            logits.float(), labels, weight=weights, label_smoothing=label_smoothing, reduction="sum"
        )
    else:
        each = functional.cross_entropy(
            logits.float(), labels, weight=weights, label_smoothing=label_smoothing, reduction="none"
        )
        total = (each * of_rows).sum()
    return total / len(labels)
