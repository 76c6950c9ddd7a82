"""The loss of knowledge distillation, from cached logits or a live teacher.

Hinton, Vinyals & Dean 2015, arXiv:1503.02531, section 2.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import nn

from baton import params
from baton.contracts.batch import Batch
from baton.errors import ParamsError
from baton.losses import distillation_losses
from baton.losses.loss import Model, Sum, TaskLosses, Terms, chosen, own, summed
from baton.models.classifier import Classifier
from baton.runtime import sharding

FEWEST = 3  # classes whose standardised logits differ between rows
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


class Factors(NamedTuple):
    """What weighs the terms of the loss; tensors are on the device."""

    outputs: torch.Tensor | None = None  # per output, (width,); they apply to the targets
    of_rows: torch.Tensor | None = None  # per row (or unit) of train; they apply to all terms
    labelled: torch.Tensor | None = None  # per row (or unit): 0 if it has no target, else 1; None: all have

    @property
    def of_labels(self) -> torch.Tensor | None:
        """The weights of the rows' targets."""
        if self.of_rows is None or self.labelled is None:
            return self.of_rows if self.labelled is None else self.labelled
        return self.of_rows * self.labelled


def distillation(
    task: TaskLosses,
    teacher: Teacher,
    settings: params.Distill,
    factors: Factors,
    scale: torch.Tensor | None = None,
    states: Callable[[Batch], torch.Tensor] | None = None,
) -> Terms:
    """Return the loss `alpha * L + (1 - alpha) * T**2 * D(teacher, student) + w * F + v * S`.

    L is the task's loss against the targets, and D the divergence of the two answers, softened by T
    (`params.Distill.soft`). The factor T**2 keeps the gradients of the soft targets on the scale of the hard
    ones when T changes. F compares what the heads of both read (`params.Distill.features`), S their hidden
    states (`params.Distill.states`).

    Args:
        task: the loss L (cross-entropy for classes), and the divergence.
        teacher: `cached` or `Live`.
        settings: alpha, T, label smoothing of L, what D is, the weight of F.
        factors: weights.
        scale: the deviation of each of the teacher's features over train, (features,), if features follow the
            logits of both, see `matched_features`; None: they do not.
        states: the distances of the samples of a batch that both have just read, see `matched_states`.
    """
    alpha, heat = settings.alpha, settings.temperature
    names = ["labels", "soft"] + ["features"] * (scale is not None) + ["states"] * (states is not None)
    features = 0 if scale is None else len(scale)

    def terms(model: Model, batch: Batch) -> torch.Tensor:
        inputs = batch.inputs
        answers, read = _parted(own(model(*inputs), batch), features)
        taught, wanted = _parted(own(teacher(batch, inputs), batch), features)
        hard = task.supervised(
            answers,
            batch.targets,
            settings.label_smoothing,
            factors.outputs,
            chosen(factors.of_labels, batch),
            batch.bounds,
        )
        of_rows = chosen(factors.of_rows, batch)
        soft = _soft(task, settings, answers, taught, batch, of_rows, chosen(factors.labelled, batch))
        found = [alpha * hard.mean, (1 - alpha) * heat**2 * soft.mean]
        if settings.features and scale is not None:
            distances = summed(distillation_losses.apart(read, wanted, scale), of_rows)
            found.append(settings.features.weight * distances.mean)
        if settings.states and states is not None:
            found.append(settings.states.weight * summed(states(batch), of_rows).mean)
        return torch.stack(found)

    return Terms(tuple(names), terms)


def check(settings: params.Distill, classes: int) -> None:
    """Refuse to standardise the logits of two classes.

    Raises:
        ParamsError: they would all become 1 and -1.
    """
    if settings.standardise and classes < FEWEST:
        raise ParamsError(
            "distill.standardise leaves nothing of the logits of so few classes but which is larger",
            got=f"{classes} classes",
            expected=f"{FEWEST} or more",
            hint="set distill.standardise to false",
        )


def _soft(
    task: TaskLosses,
    settings: params.Distill,
    student: torch.Tensor,
    teacher: torch.Tensor,
    batch: Batch,
    of_rows: torch.Tensor | None,
    labelled: torch.Tensor | None,
) -> Sum:
    """Return the divergence of the student's logits from the teacher's, (outputs, width) each."""
    classes = batch.targets
    if labelled is not None and (settings.correct or settings.soft.kind == "decoupled"):
        # A row without label has the class that its teacher finds likeliest.
        classes = torch.where(labelled > 0, classes, teacher.argmax(1))
    if settings.correct:
        teacher = distillation_losses.corrected(teacher, classes)
    if settings.standardise:
        student, teacher = (distillation_losses.standardised(logits) for logits in (student, teacher))
    match settings.soft:
        case params.Divergence():
            return task.divergence(student, teacher, settings.temperature, of_rows, batch.bounds)
        case params.Decoupled(of_class=of_class, of_others=of_others):
            each = distillation_losses.decoupled(
                student, teacher, classes, settings.temperature, of_class, of_others
            )
            return summed(each, of_rows)


def _parted(outputs: torch.Tensor, features: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return logits and features of outputs, (outputs, logits + features)."""
    width = outputs.shape[1] - features
    return outputs[:, :width], outputs[:, width:]
