"""Reptile's direction, against SGD by torch on a copy; the weights themselves stay as they were."""

import copy
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from baton.batches.episodes import EpisodeBatch
from baton.train import reptile

WAY, SHOTS, WIDTH, RATE = 3, 4, 6, 1.0


@dataclass(frozen=True)
class Block:
    """Rows of all classes."""

    inputs: tuple[torch.Tensor, ...]
    units: torch.Tensor

    def __len__(self) -> int:
        return len(self.units)


class Learner(nn.Module):
    """Features, and a weight that they do not depend on."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, WIDTH))
        self.unused = nn.Parameter(torch.ones(2))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.layers(rows)


def episode(steps: int, filling: int = 0) -> Any:
    """Return an episode of classes that lie apart; `filling` rows fill each block up."""
    torch.manual_seed(1)
    centres = 2 * torch.randn(WAY, 5).repeat_interleave(SHOTS, 0)
    rows = [
        torch.cat([centres + torch.randn(len(centres), 5), torch.randn(filling, 5)]) for _ in range(steps)
    ]
    return EpisodeBatch(tuple(Block((own,), torch.arange(WAY * SHOTS)) for own in rows))  # type: ignore[arg-type]


def made() -> Learner:
    torch.manual_seed(0)
    return Learner()


def adapted(learner: Learner, task: Any, rate: float = RATE) -> tuple[Learner, float]:
    """Return a copy after a step of SGD on each block, and the last loss."""
    own, head = copy.deepcopy(learner), nn.Linear(WIDTH, WAY)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    optimizer = torch.optim.SGD([*own.parameters(), *head.parameters()], lr=rate)
    labels = torch.arange(WAY).repeat_interleave(SHOTS)
    loss = torch.zeros(())
    for block in task.blocks:
        loss = functional.cross_entropy(head(own(*block.inputs)[: WAY * SHOTS]), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return own, float(loss.detach())


@pytest.mark.parametrize("filling", [0, 2])
def test_the_gradient_is_the_way_to_the_adapted_weights(filling: int) -> None:
    learner, task = made(), episode(4, filling)
    expected, last = adapted(learner, task)
    before = copy.deepcopy(learner.state_dict())
    loss = reptile.loss(reptile.Reptile(learner, WAY, WIDTH, RATE), task)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(last, rel=1e-5)
    for name, weight in learner.named_parameters():
        assert torch.equal(weight, before[name]), "the weights are those before"
        direction = (weight.detach() - expected.state_dict()[name]) / RATE
        if name == "unused":
            assert weight.grad is None
            continue
        assert weight.grad is not None and torch.allclose(weight.grad, direction, atol=1e-5), name
        assert direction.abs().max() > 1e-2
    joint, _ = adapted(learner, EpisodeBatch(task.blocks[:1]))  # the control: a single step moves no feature
    assert all(torch.equal(joint.state_dict()[name], before[name]) for name in before)


def test_adapting_lowers_the_loss_of_other_rows_of_the_task() -> None:
    model = reptile.Reptile(made(), WAY, WIDTH, RATE)
    losses = [float(model(episode(steps)).detach()) for steps in range(1, 9)]
    assert losses[0] == pytest.approx(float(torch.tensor(WAY).log()))
    assert losses[-1] < 0.5 * losses[0]


def test_a_step_sees_the_weights_of_the_step_before_in_mixed_precision() -> None:
    """Autocast keeps the 16-bit copies of weights, which an adaptation changes."""
    learner, task = made(), episode(5)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = reptile.loss(reptile.Reptile(learner, WAY, WIDTH, RATE), task)
        stale = _stale(learner, task)
    exact = reptile.loss(reptile.Reptile(learner, WAY, WIDTH, RATE), task)
    assert abs(float((mixed - exact).detach())) < 0.1 * abs(float((stale - exact).detach()))


def _stale(learner: Learner, task: Any) -> torch.Tensor:
    """The control: the same without clearing autocast's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "clear_autocast_cache", lambda: None)
        return reptile.loss(reptile.Reptile(learner, WAY, WIDTH, RATE), task).detach()


def test_an_error_leaves_the_weights_as_they_were() -> None:
    learner, task = made(), episode(3)
    before = copy.deepcopy(learner.state_dict())
    broken = EpisodeBatch((*task.blocks, Block((torch.randn(2, 99),), torch.arange(2))))  # type: ignore[arg-type]
    with pytest.raises(RuntimeError):
        reptile.loss(reptile.Reptile(learner, WAY, WIDTH, RATE), broken)
    assert all(torch.equal(learner.state_dict()[name], before[name]) for name in before)


def test_frozen_weights_do_not_move() -> None:
    learner = made()
    learner.layers[0].requires_grad_(False)
    reptile.loss(reptile.Reptile(learner, WAY, WIDTH, RATE), episode(3)).backward()
    assert learner.layers[0].weight.grad is None and learner.layers[2].weight.grad is not None
