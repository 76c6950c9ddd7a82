"""The losses of a model that writes texts; see `loss.TaskLosses`.

Logits are those of the tokens of all targets, (tokens, vocabulary), under teacher forcing. A loss is summed
over them and its count is their number: the parts of a step add up to the mean over the step's tokens,
however long the targets of each part are.
"""

from dataclasses import dataclass

import torch

from baton.contracts.targets import Targets
from baton.contracts.task_spec import Classes, Sequence
from baton.losses.class_losses import ClassLosses
from baton.losses.loss import Sum, nothing_to_weigh

TOKENS = ClassLosses(Classes(()))  # each token is one of the vocabulary's


@dataclass(frozen=True)
class SequenceLosses:
    """Cross-entropy of each token, and the divergence of its probabilities."""

    spec: Sequence

    def weights(self, targets: Targets) -> torch.Tensor:
        """Refuse to weigh classes; params do so earlier.

        Raises:
            TrainingError: always.
        """
        raise nothing_to_weigh("texts", "texts", targets)

    def prior(self, targets: Targets) -> None:
        """Return None: the model has no head of its own."""

    def supervised(
        self,
        logits: torch.Tensor,
        targets: torch.Tensor,
        label_smoothing: float,
        weights: torch.Tensor | None,
        of_rows: torch.Tensor | None = None,
        bounds: torch.Tensor | None = None,  # noqa: ARG002
    ) -> Sum:
        """Return cross-entropy in fp32; targets are (tokens,), and `of_rows` has the row's weight of each.

        `label_smoothing` moves targets towards all tokens alike (Szegedy et al. 2016, arXiv:1512.00567).
        """
        return TOKENS.supervised(logits, targets, label_smoothing, weights, of_rows)

    def divergence(
        self,
        student: torch.Tensor,
        teacher: torch.Tensor,
        temperature: float,
        of_rows: torch.Tensor | None = None,
        bounds: torch.Tensor | None = None,  # noqa: ARG002
    ) -> Sum:
        """Return KL(teacher || student) of each token's probabilities (word-level; Kim & Rush 2016)."""
        return TOKENS.divergence(student, teacher, temperature, of_rows)
