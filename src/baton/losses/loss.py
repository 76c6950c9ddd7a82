"""Losses as functions `(model, batch) -> loss`.

A task supplies sums over targets and their counts (`TaskLosses`); a loss is the mean over the batch's
targets. The sampler weighs the parts of a step by their share of the step's targets, so that the losses of
the parts, on one process or several, add up to the mean over the whole step.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch

from baton.contracts.batch import Batch
from baton.contracts.targets import Targets
from baton.errors import TrainingError

Model = Callable[..., torch.Tensor]
Loss = Callable[[Model, Batch], torch.Tensor]  # -> (), or the `Terms` that add up to it, (terms,)


@dataclass(frozen=True)
class Terms:
    """A loss that is the sum of terms with names; training logs each as it counts in the sum.

    Calling it returns the terms, (terms,).
    """

    names: tuple[str, ...]
    of: Loss

    def __call__(self, model: Model, batch: Batch) -> torch.Tensor:
        """Return the terms of a batch, (terms,)."""
        return self.of(model, batch)


@dataclass(frozen=True)
class Sum:
    """A loss summed over targets, in fp32."""

    total: torch.Tensor  # ()
    count: int  # of the targets; the sum of `Targets.counts` over the batch's rows

    @property
    def mean(self) -> torch.Tensor:
        """The mean over targets, (); 0 without targets."""
        return self.total / self.count if self.count else self.total


def summed(rows: torch.Tensor, of_rows: torch.Tensor | None) -> Sum:
    """Return the sum of the losses of rows, (batch,), each times its weight, (batch,), and their number."""
    return Sum((rows if of_rows is None else rows * of_rows).sum(), len(rows))


def nothing_to_weigh(word: str, rows: str, targets: Targets) -> TrainingError:
    """Return the error for weights of classes where there are none; params refuse them earlier."""
    return TrainingError(
        f"{word} have no classes to weigh",
        got=f"class_weights for {len(targets)} {rows}",
        expected="class_weights: none",
        hint="set class_weights to none",
    )


class TaskLosses(Protocol):
    """The losses of one kind of task. Logits are (batch, width); targets and bounds are those of `Batch`."""

    def weights(self, targets: Targets) -> torch.Tensor:
        """Return the weights (width,) that params `class_weights: balanced` gives the outputs."""
        ...

    def prior(self, targets: Targets) -> torch.Tensor | None:
        """Return the outputs' biases (width,) of a new head, fitted to train; None: they are drawn."""
        ...

    def supervised(
        self,
        logits: torch.Tensor,
        targets: torch.Tensor,
        label_smoothing: float,
        weights: torch.Tensor | None,
        of_rows: torch.Tensor | None = None,
        bounds: torch.Tensor | None = None,
    ) -> Sum:
        """Return the loss against the targets, with weights of outputs (width,) and of rows (batch,)."""
        ...

    def divergence(
        self,
        student: torch.Tensor,
        teacher: torch.Tensor,
        temperature: float,
        of_rows: torch.Tensor | None = None,
        bounds: torch.Tensor | None = None,
    ) -> Sum:
        """Return KL(teacher || student), both softened by `temperature`; of numbers their distance."""
        ...


def names(loss: Loss) -> tuple[str, ...]:
    """Return the names of a loss's terms; none, if it is one."""
    return loss.names if isinstance(loss, Terms) else ()


def own(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Return the logits of the batch's own samples, (outputs, …).

    Logits of padding samples, which fill the inputs up to a fixed shape, come after them and are dropped.
    """
    return logits if len(logits) == len(batch.units) else logits[: len(batch.units)]


def chosen(of_rows: torch.Tensor | None, batch: Batch) -> torch.Tensor | None:
    """Return the weights of the batch's outputs, (outputs,); `of_rows` has those of train's outputs."""
    return None if of_rows is None else of_rows[batch.units]


def supervised(
    task: TaskLosses,
    label_smoothing: float,
    weights: torch.Tensor | None,
    of_rows: torch.Tensor | None = None,
) -> Loss:
    """Return the loss against targets, with weights of outputs (width,) and of rows (train rows,).

    If rows have several units, `of_rows` are those of train's units.
    """

    def loss(model: Model, batch: Batch) -> torch.Tensor:
        logits = own(model(*batch.inputs), batch)
        factors = chosen(of_rows, batch)
        return task.supervised(logits, batch.targets, label_smoothing, weights, factors, batch.bounds).mean

    return loss
