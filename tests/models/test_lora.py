"""Adapters of models with tied weights and with frozen encoders: what must not move does not."""

from typing import Any

import torch
from torch import nn

from baton import params
from baton.models import lora

STRATEGY = params.LoraStrategy(kind="lora", rank=2, alpha=4.0, dropout=0.0)


class Tied(nn.Module):
    """An embedding, a layer, and an output layer that shares the embedding's weight."""

    def __init__(self, width: int = 8, words: int = 11) -> None:
        super().__init__()
        self.backbone = nn.Module()
        self.backbone.embed = nn.Embedding(words, width)
        self.backbone.layer = nn.Linear(width, width)
        self.backbone.other = nn.Linear(width, width)
        self.backbone.output = nn.Linear(width, words, bias=False)
        self.backbone.output.weight = self.backbone.embed.weight

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        own: Any = self.backbone
        found: torch.Tensor = own.output(own.other(own.layer(own.embed(ids))))
        return found


def disturb(model: nn.Module) -> None:
    """Give the adapters values, as training would."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_()


def test_an_output_layer_that_shares_the_embeddings_weight_is_not_adapted() -> None:
    torch.manual_seed(0)
    model, ids = Tied(), torch.arange(5)
    names, table = set(model.state_dict()), model.backbone.embed.weight.clone()
    before = model(ids)
    lora.adapted(model, STRATEGY)
    disturb(model)
    unmerged = model(ids)
    merged = lora.merged(model)(ids)
    assert (merged - unmerged).abs().max() < 1e-5 < (merged - before).abs().max()
    assert torch.equal(model.backbone.embed.weight, table)
    assert set(model.state_dict()) == names


def test_a_layer_that_params_freeze_has_no_adapter_and_stays_frozen() -> None:
    model = Tied()
    model.backbone.other.requires_grad_(False)
    own = {name: value.clone() for name, value in model.backbone.other.state_dict().items()}
    frozen = lora.frozen(model)
    lora.adapted(model, STRATEGY)
    disturb(model)
    lora.merged(model, frozen)
    assert all(torch.equal(value, own[name]) for name, value in model.backbone.other.state_dict().items())
    assert {name for name, parameter in model.named_parameters() if not parameter.requires_grad} == frozen
    assert frozen == {"backbone.other.weight", "backbone.other.bias"}
