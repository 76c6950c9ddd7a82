"""Knowledge distillation from cached teacher logits (Hinton, Vinyals & Dean 2015, arXiv:1503.02531, section 2)."""

import torch
from torch.nn import functional

from baton.train.losses import Batch, Loss, Model, supervised


def distillation(
    teacher_logits: torch.Tensor, temperature: float, alpha: float, label_smoothing: float, weights: torch.Tensor | None
) -> Loss:
    """`alpha * CE + (1 - alpha) * T**2 * KL(teacher || student)`, both distributions softened by T.

    The factor T**2 keeps the gradients of the soft targets at the size of the hard ones when T changes.

    Args:
        teacher_logits: (rows of train, classes), fp32; a batch's `rows` index it, so the teacher never runs.
        temperature: T.
        alpha: weight of the labels.
        label_smoothing: of the labels' part.
        weights: per class (classes,), of the labels' part.
    """

    def loss(model: Model, batch: Batch) -> torch.Tensor:
        logits = model(batch.input_ids, batch.attention_mask)
        soft = divergence(logits, teacher_logits[batch.rows], temperature)
        hard = supervised(logits, batch.labels, label_smoothing, weights)
        return alpha * hard + (1 - alpha) * temperature**2 * soft

    return loss


def divergence(student: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
    """KL(teacher || student) at temperature T, mean over the batch; both (batch, classes)."""
    student_log = functional.log_softmax(student.float() / temperature, dim=-1)
    teacher_log = functional.log_softmax(teacher.float() / temperature, dim=-1)
    return functional.kl_div(student_log, teacher_log, reduction="batchmean", log_target=True)
