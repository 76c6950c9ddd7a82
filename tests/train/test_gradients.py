"""Gradients of steps whose rows have different numbers of targets, as the tokens of a text would."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from baton.batches.sampler import TrainingBatches
from baton.losses import loss
from baton.losses.loss import Sum
from baton.train import optimizer
from baton.train.gradients import Gradients
from tests import tiny

ROWS, LENGTH, TAGS = 37, 9, 4
NONE = -1  # a token without a target


@dataclass(frozen=True)
class Tags:
    """The targets of all rows, (rows, length)."""

    values: torch.Tensor

    @property
    def counts(self) -> NDArray[np.int64]:
        """The number of targets of each row: none for some."""
        return (self.values != NONE).sum(1).numpy()


class ByRows(Tags):
    """The control: each row counts once."""

    @property
    def counts(self) -> NDArray[np.int64]:
        return np.ones(len(self.values), np.int64)


@dataclass(frozen=True)
class Batch:
    """Some rows."""

    inputs: tuple[torch.Tensor, ...]
    targets: torch.Tensor
    units: torch.Tensor
    bounds: torch.Tensor | None = None
    shape: tuple[int, int] = (1, LENGTH)

    def to(self, device: torch.device) -> "Batch":
        return self


class Split:
    """Rows of random tokens."""

    def __init__(self, kind: type[Tags]) -> None:
        random = torch.Generator().manual_seed(0)
        self.tokens = torch.randint(20, (ROWS, LENGTH), generator=random)
        tags = torch.randint(TAGS, (ROWS, LENGTH), generator=random)
        used = torch.randint(LENGTH + 1, (ROWS, 1), generator=random)
        self.targets = kind(torch.where(torch.arange(LENGTH) < used, tags, NONE))
        self.lengths = self.windows = np.ones(ROWS, np.int64)

    def __len__(self) -> int:
        return ROWS

    def training_batch(self, rows: NDArray[np.int64], *_given: Any) -> Batch:
        places = torch.from_numpy(rows)
        return Batch((self.tokens[places],), self.targets.values[places], places)


class TagLosses:
    """Cross-entropy of the tokens that have a target."""

    def supervised(self, logits: torch.Tensor, targets: torch.Tensor, *_given: Any) -> Sum:
        total = functional.cross_entropy(
            logits.flatten(0, 1), targets.flatten(), ignore_index=NONE, reduction="sum"
        )
        return Sum(total, int((targets != NONE).sum()))


def gradient(kind: type[Tags], accumulation: int, ranks: int, step: int) -> torch.Tensor:
    """Return the sum over ranks of a step's gradient; DDP takes their mean and the loop scales it back."""
    settings, machine = tiny.training(batch_size=12), tiny.machine()
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(20, 8), nn.Linear(8, TAGS)).double()
    update = optimizer.Update(optimizer.make(model, settings), None, False, machine.device)
    for rank in range(ranks):
        batches = TrainingBatches(Split(kind), 12, accumulation, 0, rank=rank, ranks=ranks)
        loss_fn = loss.supervised(TagLosses(), 0.0, None)
        Gradients(model, batches, loss_fn, update, machine, 0).backward(batches.micro_batches(step))
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters()])


@pytest.mark.parametrize(("accumulation", "ranks"), [(4, 1), (12, 1), (2, 3), (1, 5)])
@pytest.mark.parametrize("kind", [Tags, ByRows])
def test_parts_and_ranks_give_the_gradient_of_the_whole_step(
    kind: type[Tags], accumulation: int, ranks: int
) -> None:
    """Weighed by rows (the control) they do not; a part or a rank may have no target at all."""
    for step in range(3):
        whole, parts = gradient(kind, 1, 1, step), gradient(kind, accumulation, ranks, step)
        assert torch.isfinite(parts).all()
        same = torch.allclose(whole, parts, rtol=0, atol=1e-12)
        assert same is (kind is Tags)
