"""The losses of a model that marks the answer to a question in its context; see `loss.TaskLosses`.

Logits are those of units (units, 2): start and end. A row's units are "no answer" and the words of its
context; the softmax is over all of them, in whatever windows they were read (shared normalisation: Clark and
Gardner 2018, "Simple and Effective Multi-Paragraph Reading Comprehension", section 3.3). A row counts once.
"""

import torch

from baton.losses.loss import Sum


def log_softmax(logits: torch.Tensor, owners: torch.Tensor, rows: int) -> torch.Tensor:
    """Return the log softmax over the units of each row, (units, 2), in fp32.

    `owners` (units,) int64 has the row of each unit, ascending, from 0 to `rows` - 1; each row has a unit.
    """
    bounds = _bounds(owners, rows)
    values = logits.float()
    highest = torch.segment_reduce(values.detach(), "max", offsets=bounds, axis=0, unsafe=True)  # (rows, 2)
    shifted = values - highest.index_select(0, owners)
    total = torch.segment_reduce(shifted.exp(), "sum", offsets=bounds, axis=0, initial=0, unsafe=True)
    return shifted - total.log().index_select(0, owners)


def supervised(
    logits: torch.Tensor,
    marks: torch.Tensor,
    owners: torch.Tensor,
    rows: int,
    of_rows: torch.Tensor | None = None,
) -> Sum:
    """Return the mean of the cross-entropies of start and end, summed over rows.

    Args:
        logits: (units, 2).
        marks: (units, 2) bool, the units at which an answer starts and those at which it ends. If several do,
            the probability of any of them counts.
        owners: (units,) int64, the row of each unit.
        rows: their number.
        of_rows: weights (rows,).
    """
    found = log_softmax(logits, owners, rows).masked_fill(~marks, -torch.inf)
    bounds = _bounds(owners, rows)
    highest = torch.segment_reduce(found.detach(), "max", offsets=bounds, axis=0, unsafe=True)  # (rows, 2)
    known = highest.isfinite()  # an answer in a part that is not read has no mark: nothing to learn from
    highest = torch.where(known, highest, 0)
    each = (found - highest.index_select(0, owners)).exp()
    total = torch.segment_reduce(each, "sum", offsets=bounds, axis=0, initial=0, unsafe=True)
    losses = -(torch.where(known, total, 1).log() + highest) * known.all(1, keepdim=True)
    weighted = losses.mean(1) if of_rows is None else losses.mean(1) * of_rows
    return Sum(weighted.sum(), rows)


def divergence(
    student: torch.Tensor,
    teacher: torch.Tensor,
    owners: torch.Tensor,
    rows: int,
    temperature: float,
    of_rows: torch.Tensor | None = None,
) -> Sum:
    """Return the mean of KL(teacher || student) of starts and of ends, over units, summed over rows."""
    own, taught = (log_softmax(logits / temperature, owners, rows) for logits in (student, teacher))
    each = (taught.exp() * (taught - own)).mean(1)  # (units,)
    if of_rows is not None:
        each = each * of_rows.index_select(0, owners)
    return Sum(each.sum(), rows)


def _bounds(owners: torch.Tensor, rows: int) -> torch.Tensor:
    """Return the first unit of each row, and the end, (rows + 1,)."""
    return torch.searchsorted(owners, torch.arange(rows + 1, device=owners.device))
