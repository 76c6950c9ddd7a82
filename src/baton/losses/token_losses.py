"""The losses of a model that gives each word a tag; see `loss.TaskLosses`.

Targets and logits are those of the words that are read, (words,) and (words, tags); each counts once.
"""

from dataclasses import dataclass

import numpy as np
import torch

from baton.contracts.targets import Targets
from baton.contracts.task_spec import Tokens
from baton.losses.class_losses import ClassLosses
from baton.losses.loss import Sum


@dataclass(frozen=True)
class TokenLosses(ClassLosses):
    """Cross-entropy of tags, and the divergence of their softmax probabilities."""

    spec: Tokens  # type: ignore[assignment]

    def weights(self, targets: Targets) -> torch.Tensor:
        """Return one weight per tag, (tags,), inverse to its frequency; their mean over words is 1.

        Tags that no word has get no share: with them the mean would be less than 1.
        """
        counts = np.bincount(targets.values, minlength=self.spec.width)
        each = len(targets.values) / (max(int((counts > 0).sum()), 1) * np.maximum(counts, 1))
        return torch.tensor(each, dtype=torch.float32)

    def divergence(
        self,
        student: torch.Tensor,
        teacher: torch.Tensor,
        temperature: float,
        of_rows: torch.Tensor | None = None,
        bounds: torch.Tensor | None = None,  # noqa: ARG002
    ) -> Sum:
        """Return KL(teacher || student); a word that the teacher did not read teaches nothing.

        Its logits are all 0. A student with another tokenizer may read such words.
        """
        read = teacher.any(dim=-1)  # (words,)
        weights = read.to(student.dtype) if of_rows is None else of_rows * read
        return super().divergence(student, teacher, temperature, None if bool(read.all()) else weights)
