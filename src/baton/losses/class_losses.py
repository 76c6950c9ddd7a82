"""The losses of a classifier that gives each row one class; see `loss.TaskLosses`."""

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from baton.contracts.targets import Targets
from baton.contracts.task_spec import Classes
from baton.losses.loss import Loss, Sum, supervised


@dataclass(frozen=True)
class ClassLosses:
    """Cross-entropy, and the divergence of softmax probabilities."""

    spec: Classes

    def weights(self, targets: Targets) -> torch.Tensor:
        """Return one weight per class, (classes,), inverse to its frequency; their mean over rows is 1."""
        counts = np.bincount(targets.values, minlength=self.spec.width)
        return torch.tensor(len(targets) / (self.spec.width * np.maximum(counts, 1)), dtype=torch.float32)

    def prior(self, targets: Targets) -> None:
        """Return None: a new head's biases are drawn."""

    def supervised(
        self,
        logits: torch.Tensor,
        targets: torch.Tensor,
        label_smoothing: float,
        weights: torch.Tensor | None,
        of_rows: torch.Tensor | None = None,
        bounds: torch.Tensor | None = None,  # noqa: ARG002
    ) -> Sum:
        """Return cross-entropy in fp32; targets are classes (batch,) or their shares (batch, classes).

        The divisor of torch's weighted mean depends on the batch, so losses of micro-batches would not add
        up; the count is that of the rows.
        """
        if of_rows is None:
            total = functional.cross_entropy(
                logits.float(), targets, weight=weights, label_smoothing=label_smoothing, reduction="sum"
            )
        else:
            each = functional.cross_entropy(
                logits.float(), targets, weight=weights, label_smoothing=label_smoothing, reduction="none"
            )
            total = (each * of_rows).sum()
        return Sum(total, len(targets))

    def divergence(
        self,
        student: torch.Tensor,
        teacher: torch.Tensor,
        temperature: float,
        of_rows: torch.Tensor | None = None,
        bounds: torch.Tensor | None = None,  # noqa: ARG002
    ) -> Sum:
        """Return KL(teacher || student) of the softmax at `temperature`; `of_rows` weights the samples."""
        student_log = functional.log_softmax(student.float() / temperature, dim=-1)
        teacher_log = functional.log_softmax(teacher.float() / temperature, dim=-1)
        if of_rows is None:
            total = functional.kl_div(student_log, teacher_log, reduction="sum", log_target=True)
        else:
            each = functional.kl_div(student_log, teacher_log, reduction="none", log_target=True)
            total = (each.sum(dim=-1) * of_rows).sum()
        return Sum(total, len(student))


def cross_entropy(
    label_smoothing: float, weights: torch.Tensor | None, of_rows: torch.Tensor | None = None
) -> Loss:
    """Return cross-entropy with label smoothing, weights of classes (classes,) and of rows (train rows,)."""
    return supervised(ClassLosses(Classes(())), label_smoothing, weights, of_rows)
