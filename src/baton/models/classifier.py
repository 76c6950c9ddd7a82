"""What a classifier is, whatever it reads: a backbone, a head on its pooled features, and what a model folder says of them.

`build` makes, saves and loads them; `encoder` has the one for text, `timm_models` the one for images.
"""

import abc
import re
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from baton import params
from baton.errors import ModelError
from baton.models.kernels import dropout as dropouts
from baton.runtime.resolve import takes_statistics

WEIGHTS, CONFIG, INFO = "model.safetensors", "config.json", "baton.json"


@dataclass(frozen=True)
class ModelInfo:
    """What a model folder says beside weights and the backbone's config; `input` is that of data/arrays/meta.json.

    The model's probabilities are softmax(logits / temperature); 1 is the model as it was trained.
    """

    labels: list[str]
    head: params.Head
    input: dict[str, Any]
    temperature: float = 1.0


class Head(nn.Module):
    """Pooled features -> logits."""

    def __init__(self, kind: params.Head, width: int, classes: int) -> None:
        """`width` is the backbone's; an MLP head has a hidden layer of its own width."""
        super().__init__()
        self.dropout = dropouts.Dropout(kind.dropout)
        self.hidden = nn.Linear(width, kind.width) if isinstance(kind, params.MlpHead) else None
        self.output = nn.Linear(kind.width if isinstance(kind, params.MlpHead) else width, classes)

    def forward(self, pooled: torch.Tensor) -> torch.Tensor:
        """(batch, width) -> (batch, classes)."""
        pooled = self.dropout(pooled)
        if self.hidden is not None:
            pooled = self.dropout(torch.tanh(self.hidden(pooled)))
        logits: torch.Tensor = self.output(pooled)
        return logits


class Classifier(nn.Module, abc.ABC):
    """A backbone with a classification head; `features(*inputs)` is what the head reads, and calling it gives the logits."""

    backbone: Any  # its attributes depend on its family

    def __init__(self, backbone: Any, head: params.Head, width: int, classes: int) -> None:
        """`width` is that of the backbone's pooled features. The head is drawn from torch's global seed."""
        super().__init__()
        self.pooling = head.pooling
        self.backbone = backbone
        self.head = Head(head, width, classes)

    @property
    def smallest_part(self) -> int:
        """Samples that a training must hand it at once.

        Two where statistics are taken over them: one sample's map of one pixel has no variance.
        """
        return 2 if takes_statistics(self) else 1

    def unpackable(self) -> str | None:
        """Why it cannot take packed documents; None: it can."""
        return "pictures are not packed"

    @abc.abstractmethod
    def config(self) -> dict[str, Any]:
        """The backbone's config.json, from which the same backbone can be built."""

    @abc.abstractmethod
    def checkpoint_activations(self) -> None:
        """Compute activations again in the backward pass instead of keeping them.

        Statistics of batch normalisation are then updated twice a step: they follow the latest batches more closely.

        Raises:
            ModelError: the architecture cannot.
        """

    @abc.abstractmethod
    def shards(self) -> list[nn.Module]:
        """Layers, each called once a pass, that a training on several devices may gather one by one; none where they cannot be told."""

    @abc.abstractmethod
    def _backbone_groups(self) -> list[list[str]]:
        """Names of the backbone's parameters, from input to output."""

    def layer_groups(self) -> list[list[str]]:
        """Names of all parameters, layer by layer from input to head; the last group is the head's.

        Raises:
            ModelError: a parameter is in no group, or in two.
        """
        expected = [name for name, _ in self.named_parameters()]
        groups = [[f"backbone.{name}" for name in group] for group in self._backbone_groups()]
        groups.append([name for name in expected if not name.startswith("backbone.")])
        named = [name for group in groups for name in group]
        if sorted(named) != sorted(expected):
            wrong = sorted(
                name for name in {*named, *expected} if (named.count(name), expected.count(name)) != (1, 1)
            )
            problem, hint = "the layers of this architecture cannot be told apart", "set layer_decay to 1.0"
            raise ModelError(
                problem,
                got=f"{wrong[0]}, in {named.count(wrong[0])} groups",
                expected="each in one",
                hint=hint,
            )
        return [group for group in groups if group]


def misfit(error: Exception) -> str:
    """The first weight that torch's `load_state_dict` complains of, in its own words."""
    found = re.search(
        r'(Missing|Unexpected) key\(s\) in state_dict: "([^"]+)"|size mismatch for [^\n]+', str(error)
    )
    if not found:
        return str(error).splitlines()[0] if str(error) else type(error).__name__
    return f"{found[1].lower()} {found[2]}" if found[1] else found[0].strip()
