"""The losses of a model that gives each row any number of labels; see `loss.TaskLosses`.

A row's loss is the mean over labels, so the learning rate keeps its meaning if labels are added.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from baton.contracts.targets import Targets
from baton.contracts.task_spec import Labels
from baton.losses.loss import Sum, summed


@dataclass(frozen=True)
class LabelLosses:
    """Binary cross-entropy of each label, and the divergence of its two probabilities."""

    spec: Labels

    def weights(self, targets: Targets) -> torch.Tensor:
        """Return rows without the label over rows with it, (width,): the weight of a row that has it.

        It is 1 for a label that no row or every row has.
        """
        own = np.bincount(targets.pairs[1], minlength=self.spec.width)
        varies = (own > 0) & (own < len(targets))
        found = np.where(varies, (len(targets) - own) / np.maximum(own, 1), 1.0)
        return torch.tensor(found, dtype=torch.float32)

    def prior(self, targets: Targets) -> torch.Tensor:
        """Return the log-odds of each label in train, (width,), with half a row added on either side.

        Without them the first epochs of a model with many rare labels do little but learn that they are rare
        (Lin et al. 2017, Focal loss for dense object detection, section 3.3).
        """
        own = np.bincount(targets.pairs[1], minlength=self.spec.width)
        return torch.tensor(np.log((own + 0.5) / (len(targets) - own + 0.5)), dtype=torch.float32)

    def supervised(
        self,
        logits: torch.Tensor,
        targets: torch.Tensor,
        label_smoothing: float,
        weights: torch.Tensor | None,
        of_rows: torch.Tensor | None = None,
        bounds: torch.Tensor | None = None,  # noqa: ARG002
    ) -> Sum:
        """Return binary cross-entropy in fp32; targets are (batch, width) from 0 to 1.

        `label_smoothing` moves targets towards 1/2; `weights` multiplies the loss of a positive target. That
        alone would teach log-odds that are too high by the log weight, so it is added to the logits here
        (prior correction, King and Zeng 2001, Logistic regression in rare events data; logit adjustment,
        Menon et al. 2021): the best answer remains the smoothed share of rows with the label, whatever it
        weighs, so that logits, the validation loss and a teacher's soft targets mean the same with weights
        and without.
        """
        smoothed, raw = targets * (1 - label_smoothing) + label_smoothing / 2, logits.float()
        shifted = raw if weights is None else raw + weights.log()
        each = functional.binary_cross_entropy_with_logits(
            shifted, smoothed, pos_weight=weights, reduction="none"
        )
        return summed(each.mean(dim=1), of_rows)

    def divergence(
        self,
        student: torch.Tensor,
        teacher: torch.Tensor,
        temperature: float,
        of_rows: torch.Tensor | None = None,
        bounds: torch.Tensor | None = None,  # noqa: ARG002
    ) -> Sum:
        """Return KL(teacher || student) of each label's two probabilities, sigmoid(logit / temperature)."""
        own, taught = student.float() / temperature, teacher.float() / temperature
        each = taught.sigmoid() * (functional.logsigmoid(taught) - functional.logsigmoid(own))
        each = each + (-taught).sigmoid() * (functional.logsigmoid(-taught) - functional.logsigmoid(-own))
        return summed(each.mean(dim=1), of_rows)
