"""The weights in a model folder, as a served model uses them: those of its backbone, and its head."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch.nn import functional

HEAD, BACKBONE = "head.", "backbone."  # how the names of weights begin


@dataclass(frozen=True)
class SavedHead:
    """The trained `models.classifier.Head`, without its dropout: pooled features -> logits."""

    weights: Mapping[str, torch.Tensor]  # by name, without `head.`

    def __call__(self, pooled: torch.Tensor) -> torch.Tensor:
        """Map (batch, width) to (batch, outputs)."""
        if "hidden.weight" in self.weights:
            pooled = torch.tanh(
                functional.linear(pooled, self.weights["hidden.weight"], self.weights["hidden.bias"])
            )
        return functional.linear(pooled, self.weights["output.weight"], self.weights["output.bias"])


def read(folder: Path, device: torch.device) -> tuple[dict[str, torch.Tensor], SavedHead]:
    """Return the backbone's state dict, on the CPU, and the head, on `device`."""
    weights = load_file(folder / "model.safetensors")
    head = {
        name.removeprefix(HEAD): tensor.to(device)
        for name, tensor in weights.items()
        if name.startswith(HEAD)
    }
    backbone = {
        name.removeprefix(BACKBONE): tensor for name, tensor in weights.items() if not name.startswith(HEAD)
    }
    return backbone, SavedHead(head)
