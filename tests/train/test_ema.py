"""Test the moving average of weights, and learning rates by layer."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from baton import params
from baton.train import optimizer
from baton.train.ema import Average

SETTINGS = params.read(Path("params.yaml")).finetune


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def moved(model: nn.Module, amount: float) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(amount)


def test_the_average_is_the_recursion() -> None:
    model = network()
    average, expected = Average(model, 0.9), model[0].weight.detach().clone()
    for step in range(1, 200):
        moved(model, 0.01 * step)
        average.update(step)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * model[0].weight.detach()
    torch.testing.assert_close(average.weights["0.weight"], expected)
    assert "1.running_mean" in average.weights and "1.num_batches_tracked" not in average.weights


def test_the_model_has_it_only_inside_and_its_own_bits_after() -> None:
    model = network()
    average = Average(model, 0.9)
    moved(model, 1.0)
    own = [tensor.clone() for tensor in model.state_dict().values()]
    with pytest.raises(RuntimeError, match="a bug"), average.applied():
        torch.testing.assert_close(model[0].weight, average.weights["0.weight"])
        raise RuntimeError("a bug")
    assert all(
        torch.equal(before, after) for before, after in zip(own, model.state_dict().values(), strict=True)
    )


class Layered(nn.Sequential):
    """A network that lists its layers."""

    def layer_groups(self) -> list[list[str]]:
        return [["0.weight", "0.bias"], ["1.weight", "1.bias"], ["2.weight", "2.bias"]]

    def no_weight_decay(self) -> set[str]:
        return {"2.weight"}


def rates(**changes: Any) -> dict[str, tuple[float, float]]:
    """Return parameter -> share of the learning rate, weight decay."""
    model = Layered(*network())
    made = optimizer.make(model, SETTINGS.model_copy(update={"weight_decay": 0.1} | changes))
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {
        names[id(item)]: (group["scale"], group["weight_decay"])
        for group in made.param_groups
        for item in group["params"]
    }


def test_rates_fall_from_the_head_down() -> None:
    found = rates(layer_decay=0.5)
    assert found["2.weight"] == (1.0, 0.0) and found["2.bias"] == (1.0, 0.0)
    assert found["1.weight"] == (0.5, 0.0)  # one-dimensional
    assert found["0.weight"] == (0.25, 0.1) and found["0.bias"] == (0.25, 0.0)
    assert {scale for scale, _ in rates(layer_decay=1.0).values()} == {1.0}


def test_a_step_moves_by_its_share() -> None:
    """Adam's first step has the size of the learning rate, for any gradient."""
    model = Layered(*network())
    update = optimizer.Update(
        optimizer.make(model, SETTINGS.model_copy(update={"layer_decay": 0.5, "weight_decay": 0.0})),
        None,
        False,
        torch.device("cpu"),
    )
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    loss = sum(parameter.sum() for parameter in model.parameters())
    loss.backward()
    update.step(1, loss.detach(), 0.1)
    for name, expected in (("0.weight", 0.025), ("1.weight", 0.05), ("2.weight", 0.1)):
        step = (before[name] - dict(model.named_parameters())[name].detach()).abs()
        torch.testing.assert_close(step, torch.full_like(step, expected), rtol=1e-3, atol=1e-6)
