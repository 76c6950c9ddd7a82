"""The loss of knowledge distillation, from cached logits or a live teacher.

Hinton, Vinyals & Dean 2015, arXiv:1503.02531, section 2.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from baton.contracts.batch import Batch
from baton.losses.loss import Loss, Model, TaskLosses, chosen, own
from baton.models.classifier import Classifier
from baton.runtime import sharding

Teacher = Callable[[Batch, tuple[Any, ...]], torch.Tensor]  # batch and its inputs -> logits (batch, width)


def cached(logits: torch.Tensor) -> Teacher:
    """Return a teacher that looks up `logits` (rows or units of train, width), fp32, by a batch's `units`."""
    return lambda batch, _inputs: logits[batch.units]


class Live:
    """A teacher that sees the same view of each sample as the student, with the same augmentation and mixing.

    "Knowledge distillation: a good teacher is patient and consistent" (Beyer et al. 2022, arXiv:2106.05237,
    section 3).
    """

    def __init__(self, model: Classifier) -> None:
        """`model` is on the student's device; its weights do not change."""
        self.model: nn.Module = model.eval().requires_grad_(False)
        self.forward: nn.Module = self.model  # replaced by its compiled form if the student is compiled

    def unpackable(self) -> str | None:
        """See `Classifier`; the teacher reads the student's batches."""
        assert isinstance(self.model, Classifier)
        why = self.model.unpackable()
        return f"the teacher, {why}" if why else None

    @torch.no_grad()
    def __call__(self, _batch: Batch, inputs: tuple[Any, ...]) -> torch.Tensor:
        """Return logits, (batch, width)."""
        logits: torch.Tensor = self.forward(*inputs)
        sharding.rest(self.model)
        return logits


def distillation(
    task: TaskLosses,
    teacher: Teacher,
    temperature: float,
    alpha: float,
    label_smoothing: float,
    weights: torch.Tensor | None,
    of_rows: torch.Tensor | None = None,
    labelled: torch.Tensor | None = None,
) -> Loss:
    """Return the loss `alpha * L + (1 - alpha) * T**2 * KL(teacher || student)`.

    Both distributions of the KL divergence are softened by T. The factor T**2 keeps the gradients of the soft
    targets on the scale of the hard ones when T changes.

    Args:
        task: the loss L against the targets (cross-entropy for classes), and the divergence.
        teacher: `cached` or `Live`.
        temperature: T.
        alpha: the weight of L.
        label_smoothing: applies to L.
        weights: per output, (width,); they apply to L.
        of_rows: weights per row (or unit) of train; they apply to both terms.
        labelled: per row (or unit), 1 if its target counts and 0 if it has none; None: all count.
    """
    of_labels = labelled if of_rows is None or labelled is None else of_rows * labelled
    of_labels = of_rows if labelled is None else of_labels

    def loss(model: Model, batch: Batch) -> torch.Tensor:
        inputs = batch.inputs
        logits, taught = own(model(*inputs), batch), own(teacher(batch, inputs), batch)
        factors = chosen(of_rows, batch)
        soft = task.divergence(logits, taught, temperature, factors, batch.bounds)
        known = chosen(of_labels, batch)
        hard = task.supervised(logits, batch.targets, label_smoothing, weights, known, batch.bounds)
        return alpha * hard.mean + (1 - alpha) * temperature**2 * soft.mean

    return loss
