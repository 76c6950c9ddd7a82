"""Losses as functions `(model, batch) -> loss`: the mean over the batch's samples, so micro-batches add up when weighted by their size."""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional


class Batch(Protocol):
    """What a loss needs of a batch; read-only, so that a frozen dataclass fits."""

    @property
    def inputs(self) -> tuple[Any, ...]:
        """The arguments of the model."""
        ...

    @property
    def labels(self) -> torch.Tensor:
        """(batch,), or shares of classes (batch, classes)."""
        ...

    @property
    def rows(self) -> torch.Tensor:
        """(batch,), positions in the split."""
        ...


Model = Callable[..., torch.Tensor]
Loss = Callable[[Model, Batch], torch.Tensor]


def balanced_weights(labels: NDArray[np.int64], classes: int) -> torch.Tensor:
    """Weight per class, inverse to its frequency; their mean over the samples is 1, (classes,)."""
    counts = np.bincount(labels, minlength=classes)
    return torch.tensor(len(labels) / (classes * np.maximum(counts, 1)), dtype=torch.float32)


def cross_entropy(
    label_smoothing: float, weights: torch.Tensor | None, of_rows: torch.Tensor | None = None
) -> Loss:
    """Cross-entropy with label smoothing, class weights (classes,) and weights of rows (rows of train,)."""

    def loss(model: Model, batch: Batch) -> torch.Tensor:
        return supervised(
            own(model(*batch.inputs), batch), batch.labels, label_smoothing, weights, chosen(of_rows, batch)
        )

    return loss


def own(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Those of the batch's samples, (batch, classes): behind them may be others, with which inputs were filled up to one shape."""
    return logits if len(logits) == len(batch.labels) else logits[: len(batch.labels)]


def chosen(of_rows: torch.Tensor | None, batch: Batch) -> torch.Tensor | None:
    """The weights of the batch's rows, (batch,)."""
    return None if of_rows is None else of_rows[batch.rows]


def supervised(
    logits: torch.Tensor,
    labels: torch.Tensor,
    label_smoothing: float,
    weights: torch.Tensor | None,
    of_rows: torch.Tensor | None = None,
) -> torch.Tensor:
    """Mean over samples, in fp32: logits (batch, classes), labels (batch,) or shares of classes (batch, classes), `of_rows` (batch,)."""
    # `sum / samples`, not torch's weighted mean: its divisor depends on the batch, and micro-batches would not add up.
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
