"""The losses of a model that marks the answer to a question in its context; see `loss.TaskLosses`.

Logits are those of the units that are read, (units, 2): start and end. A row's units are "no answer" and the
words of its context; the softmax is over all of them, in whatever windows they were read (shared
normalisation: Clark and Gardner 2018, "Simple and Effective Multi-Paragraph Reading Comprehension", section
3.3). A row counts once, by the mean of the losses of its start and its end (Devlin et al. 2019, section 4.2).
"""

from dataclasses import dataclass

import torch

from baton.contracts.targets import Targets
from baton.contracts.task_spec import Spans
from baton.losses.loss import Sum, nothing_to_weigh, summed


@dataclass(frozen=True)
class SpanLosses:
    """Cross-entropy of the answer's start and end over a row's units, and divergence of both softmaxes."""

    spec: Spans

    def weights(self, targets: Targets) -> torch.Tensor:
        """Refuse to weigh classes; params do so earlier.

        Raises:
            TrainingError: always.
        """
        raise nothing_to_weigh("answers", "questions", targets)

    def prior(self, targets: Targets) -> None:
        """Return None: a new head's biases are drawn."""

    def supervised(
        self,
        logits: torch.Tensor,
        targets: torch.Tensor,
        label_smoothing: float,  # noqa: ARG002  params refuse it
        weights: torch.Tensor | None,  # noqa: ARG002  likewise
        of_rows: torch.Tensor | None = None,
        bounds: torch.Tensor | None = None,
    ) -> Sum:
        """Return cross-entropy in fp32; targets are the marks of units, (units,) int64.

        If several units are marked, the probability of any of them counts. An answer in a part that is not
        read has no mark: there is nothing to learn from it.
        """
        assert bounds is not None, "rows have units"
        marks = torch.stack([targets & Spans.STARTS, targets & Spans.ENDS], dim=1).bool()  # (units, 2)
        values = logits.float()
        right, known = _log_sum(values.masked_fill(~marks, -torch.inf), bounds)  # (rows, 2)
        losses = (_log_sum(values, bounds)[0] - right) * known.all(1, keepdim=True)
        return _summed(losses, of_rows, bounds)

    def divergence(
        self,
        student: torch.Tensor,
        teacher: torch.Tensor,
        temperature: float,
        of_rows: torch.Tensor | None = None,
        bounds: torch.Tensor | None = None,
    ) -> Sum:
        """Return the mean of KL(teacher || student) of starts and of ends, over the units of each row.

        The logits of a unit that the teacher did not read are all 0; it gave such a unit no chance. A student
        with another tokenizer may read it.
        """
        assert bounds is not None, "rows have units"
        read = teacher.any(dim=1, keepdim=True).index_fill(0, bounds[:-1], True)  # (units, 1)
        own, taught = student.float() / temperature, teacher.float() / temperature
        whole, _ = _log_sum(taught.masked_fill(~read, -torch.inf), bounds)  # (rows, 2)
        log_p = (taught - _of_units(whole, bounds, len(own))).masked_fill(~read, 0)
        highest = _reduced(own.detach(), "max", bounds)  # (rows, 2)
        shifted = own - _of_units(highest, bounds, len(own))
        each = torch.where(read, log_p.exp() * (log_p - shifted), 0)  # (units, 2)
        losses = _reduced(each, "sum", bounds) + _log_sum(own, bounds)[0] - highest
        return _summed(losses, of_rows, bounds)


def _log_sum(values: torch.Tensor, bounds: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the logarithm of the sum of exponentials over the units of each row, and whether it is finite.

    Both are (rows, 2); the logarithm is 0 where it is not. `bounds` (rows + 1,) int64 has the first unit of
    each row, and the end; each row has a unit. Gradients reach units only through sums over rows, whose
    backward pass adds nothing up: that of `index_select` would, on CUDA in an order that varies.
    """
    highest = _reduced(values.detach(), "max", bounds)
    known = highest.isfinite()
    highest = torch.where(known, highest, 0)
    total = _reduced((values - _of_units(highest, bounds, len(values))).exp(), "sum", bounds)
    return torch.where(known, total, 1).log() + highest, known


def _reduced(values: torch.Tensor, how: str, bounds: torch.Tensor) -> torch.Tensor:
    """Reduce (units, 2) over the units of each row, to (rows, 2)."""
    return torch.segment_reduce(values, how, offsets=bounds, axis=0, unsafe=True)


def _of_units(rows: torch.Tensor, bounds: torch.Tensor, units: int) -> torch.Tensor:
    """Return the values of each unit's row, (rows, 2) -> (units, 2), without waiting for the device."""
    owners = torch.searchsorted(bounds, torch.arange(units, device=bounds.device), right=True) - 1
    return rows.index_select(0, owners)


def _summed(losses: torch.Tensor, of_units: torch.Tensor | None, bounds: torch.Tensor) -> Sum:
    """Sum (rows, 2) over rows, the mean of each; the units of a row have its weight."""
    return summed(losses.mean(1), None if of_units is None else of_units.index_select(0, bounds[:-1]))
