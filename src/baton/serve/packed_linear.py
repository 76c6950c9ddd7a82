"""Linear layers in bf16 on the CPU: weights in oneDNN's own layout, and GELU as part of the product.

Torch would bring the weights into that layout anew for each batch, and write and read the products once more
for GELU. These are the operations that torch's compiler uses, without its minute of compilation.
"""

from typing import Any

import torch
from torch import nn

# How blocks of encoders name a linear layer and the activation that follows it: those of transformers' BERT
# and its relatives, DistilBERT, and timm's and other vision transformers.
PAIRS = (("dense", "intermediate_act_fn"), ("lin1", "activation"), ("fc1", "act"))


class PackedLinear(nn.Module):
    """A linear layer with a packed weight: (…, inputs) -> (…, outputs), in bf16."""

    def __init__(self, linear: nn.Linear, gelu: bool = False) -> None:
        """Take a layer in bf16; `gelu` applies the activation to its outputs."""
        super().__init__()
        self.packed = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach())
        self.bias, self.gelu = linear.bias, gelu
        # Some models ask for the type or the shape of a weight.
        self.weight = torch.empty_like(linear.weight, device="meta")

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Map (…, inputs) to (…, outputs)."""
        kind, algorithm = ("gelu", "none") if self.gelu else ("none", "")
        result: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
            values, self.packed, self.bias, kind, [], algorithm
        )
        return result


def usable() -> bool:
    """Return whether this torch has the operations."""
    return torch._C._has_mkldnn and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def pack(encoder: nn.Module) -> None:
    """Replace the linear layers of an encoder in bf16, in place."""
    if not usable():
        return
    for block in [*encoder.modules()]:
        for linear, activation in PAIRS:
            layer = getattr(block, linear, None)
            if type(layer) is nn.Linear and _is_gelu(getattr(block, activation, None)):
                setattr(block, linear, PackedLinear(layer, gelu=True))
                setattr(block, activation, nn.Identity())
    for block in [*encoder.modules()]:
        for name, layer in [*block.named_children()]:
            if type(layer) is nn.Linear:
                setattr(block, name, PackedLinear(layer))


def _is_gelu(activation: Any) -> bool:
    """Return whether an activation is GELU by the error function, not an approximation of it."""
    if isinstance(activation, nn.GELU):
        return activation.approximate == "none"
    # `transformers.activations.GELUActivation`; models of images do not have transformers.
    return type(activation).__name__ == "GELUActivation" and activation.act is nn.functional.gelu
