"""Test that a model that cannot be split is reported before the attempt, a model in one piece among them."""

import dataclasses

import pytest
import torch
from torch import nn

from baton.errors import ModelError
from baton.runtime import sharding
from tests import tiny


class Layers(nn.Module):
    """Two layers and a head; `shards()` returns the layers."""

    def __init__(self) -> None:
        super().__init__()
        self.layers, self.head = nn.ModuleList(nn.Linear(4, 4) for _ in range(2)), nn.Linear(4, 2)

    def shards(self) -> list[nn.Module]:
        return list(self.layers)


FULL = dataclasses.replace(tiny.machine(), sharding="full", processes=2)


def refused(model: nn.Module) -> str:
    with pytest.raises(ModelError, match="cannot be split over processes") as caught:
        sharding.place(model, FULL)
    assert "set runtime.sharding to none" in str(caught.value)
    return str(caught.value)


def test_a_single_number_has_no_part() -> None:
    model = Layers()
    model.scale = nn.Parameter(torch.tensor(1.0))
    assert "scale is a scalar" in refused(model)


def test_a_weight_of_two_units_is_told() -> None:
    model = Layers()
    model.layers[1].weight = model.layers[0].weight
    assert "several layers share layers.0.weight" in refused(model)


def test_a_weight_of_a_layer_and_of_what_is_around_it_is_told() -> None:
    model = Layers()
    model.head = nn.Linear(4, 4)
    model.head.weight = model.layers[0].weight
    assert "several layers share layers.0.weight" in refused(model)


def test_one_process_keeps_the_model_whole() -> None:
    model, values = Layers(), torch.ones(2, 4)
    assert sharding.place(model, dataclasses.replace(FULL, processes=1)) is model
    assert (
        not sharding.is_split(model) and sharding.own(values) is values and sharding.whole(values) is values
    )
    with torch.no_grad():
        sharding.fill(model.head.weight, values)
    assert torch.equal(sharding.gather(model)["head.weight"], values)
