"""Test that a saved head computes what the head computed in training."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from baton import params
from baton.contracts import saved_weights
from baton.models.classifier import Head

HEADS = [
    params.LinearHead(kind="linear", pooling="mean", dropout=0.1),
    params.MlpHead(kind="mlp", pooling="mean", dropout=0.1, width=5),
]


@pytest.mark.parametrize("kind", HEADS, ids=lambda kind: kind.kind)
def test_a_saved_head_is_that_of_training(kind: params.Head, tmp_path: Path) -> None:
    torch.manual_seed(0)
    trained, backbone, pooled = Head(kind, 7, 3), torch.nn.Linear(2, 7), torch.randn(4, 7)
    named = {"head": trained, "backbone": backbone}
    state = {f"{part}.{name}": tensor for part in named for name, tensor in named[part].state_dict().items()}
    save_file(state, tmp_path / "model.safetensors")
    weights, head = saved_weights.read(tmp_path, torch.device("cpu"))
    assert torch.equal(head(pooled), trained.eval()(pooled))
    assert weights.keys() == {"weight", "bias"} and torch.equal(weights["weight"], backbone.weight)
