"""The losses of a model that gives each row numbers; see `loss.TaskLosses`.

A row's loss is the mean over its numbers, each standardised by the mean and deviation of train, so that no
number counts more for its unit.
"""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch.nn import functional

from baton.contracts.targets import Targets
from baton.contracts.task_spec import Numbers
from baton.losses.loss import Sum, summed


@dataclass(frozen=True)
class NumberLosses:
    """Smooth L1 or the squared error, against targets or a teacher's numbers.

    Smooth L1 is e**2 / 2 up to one deviation of train and |e| - 1/2 beyond, so that outliers pull with a
    bounded force (Huber 1964, Robust estimation of a location parameter; Girshick 2015, Fast R-CNN).
    """

    spec: Numbers

    def weights(self, targets: Targets) -> torch.Tensor:  # noqa: ARG002
        """Return 1 for each number, (width,): params refuse to balance them."""
        return torch.ones(self.spec.width)

    def prior(self, targets: Targets) -> None:
        """Return None: a new head's biases are drawn."""

    def supervised(
        self,
        logits: torch.Tensor,
        targets: torch.Tensor,
        label_smoothing: float,  # noqa: ARG002  params refuse it
        weights: torch.Tensor | None,  # noqa: ARG002  likewise
        of_rows: torch.Tensor | None = None,
        bounds: torch.Tensor | None = None,  # noqa: ARG002
    ) -> Sum:
        """Return the loss in fp32; targets are (batch, width), in their unit, in double precision."""
        centre, scale = _standard(self.spec, targets.device)
        return self._summed(logits, ((targets - centre) / scale).float(), of_rows)

    def divergence(
        self,
        student: torch.Tensor,
        teacher: torch.Tensor,
        temperature: float,  # noqa: ARG002  params refuse another one than 1
        of_rows: torch.Tensor | None = None,
        bounds: torch.Tensor | None = None,  # noqa: ARG002
    ) -> Sum:
        """Return the same loss of the student against the teacher, both standardised (batch, width).

        It distils a regressor as Ba and Caruana (2014, Do deep nets really need to be deep?) match outputs.
        """
        return self._summed(student, teacher.float(), of_rows)

    def _summed(self, outputs: torch.Tensor, wanted: torch.Tensor, of_rows: torch.Tensor | None) -> Sum:
        loss = functional.smooth_l1_loss if self.spec.loss == "smooth_l1" else functional.mse_loss
        rows = loss(outputs.float(), wanted, reduction="none").mean(dim=1)  # (batch,)
        return summed(rows, of_rows)


@lru_cache(maxsize=8)
def _standard(spec: Numbers, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Return centre and scale, (width,) float64, kept on the device: copying them at each step would wait."""
    centre = torch.tensor(spec.centre, dtype=torch.float64, device=device)
    return centre, torch.tensor(spec.scale, dtype=torch.float64, device=device)
