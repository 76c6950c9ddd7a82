"""The base class of classifiers: a backbone, a head on its pooled features, and their description.

`model_folder` creates, saves and loads them; `text_model` has the classifier of text, `image_model` that of
images, `image_text_model` that of both.
"""

import abc
import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from baton import params
from baton.contracts.input_spec import InputSpec
from baton.contracts.task_spec import TaskSpec
from baton.errors import ModelError, first_line
from baton.models.kernels import dropout as dropouts
from baton.runtime.resolve import takes_statistics

PROJECTION = "projection"  # of a student's features to its teacher's width, while it is trained
WEIGHTS, CONFIG, INFO = "model.safetensors", "config.json", "baton.json"


@dataclass(frozen=True)
class ModelInfo:
    """The contents of a model folder besides weights and the backbone's config.

    `fitted` holds the values that were fitted on validation, see `contracts.fitted_values`; without any, the
    model answers as trained.
    """

    task: TaskSpec
    head: params.Head
    input: InputSpec
    fitted: Mapping[str, Any] = field(default_factory=dict)


class Head(nn.Module):
    """A head: pooled features -> logits."""

    def __init__(self, kind: params.Head, width: int, outputs: int) -> None:
        """`width` is the backbone's; the hidden layer of an MLP head has the width set in `kind`."""
        super().__init__()
        self.dropout = dropouts.Dropout(kind.dropout)
        self.hidden = nn.Linear(width, kind.width) if isinstance(kind, params.MlpHead) else None
        self.output = nn.Linear(kind.width if isinstance(kind, params.MlpHead) else width, outputs)

    def forward(self, pooled: torch.Tensor) -> torch.Tensor:
        """Map (batch, width) to (batch, outputs)."""
        pooled = self.dropout(pooled)
        if self.hidden is not None:
            pooled = self.dropout(torch.tanh(self.hidden(pooled)))
        logits: torch.Tensor = self.output(pooled)
        return logits


class Classifier(nn.Module, abc.ABC):
    """A backbone with a classification head.

    `features(*inputs)` returns the head's input; calling the classifier returns logits.
    """

    backbone: Any  # its attributes depend on the model family

    def __init__(self, backbone: Any, head: params.Head, width: int, outputs: int) -> None:
        """`width` is that of the pooled features. The head is initialised from torch's global seed."""
        super().__init__()
        self.pooling = head.pooling
        self.backbone = backbone
        self.head = Head(head, width, outputs)

    @property
    def smallest_part(self) -> int:
        """The fewest samples per forward pass in training.

        Two if the model computes batch statistics, since a single sample with a 1 x 1 feature map has no
        variance.
        """
        return 2 if takes_statistics(self) else 1

    def unpackable(self) -> str | None:
        """Return why the model cannot take packed documents, or None if it can."""
        return "images are not packed"

    @abc.abstractmethod
    def config(self) -> dict[str, Any]:
        """Return the contents of the backbone's config.json, from which the same backbone can be built."""

    def configs(self) -> dict[str, dict[str, Any]]:
        """Return the config of each encoder, by the folder within a model folder that it is written to."""
        return {"": self.config()}

    @abc.abstractmethod
    def checkpoint_activations(self) -> None:
        """Recompute activations in the backward pass instead of keeping them.

        Batch normalisation statistics are then updated twice per step, so they follow recent batches more
        closely.

        Raises:
            ModelError: If the architecture does not support it.
        """

    @abc.abstractmethod
    def shards(self) -> list[nn.Module]:
        """Return the layers that training on several devices may gather one by one.

        Each is called once per pass. The list is empty if the layers are unknown.
        """

    @abc.abstractmethod
    def _backbone_groups(self) -> list[list[str]]:
        """Return the names of the backbone's parameters, grouped by layer, from input to output."""

    def layer_groups(self) -> list[list[str]]:
        """Return the names of all parameters, grouped by layer from input to head, which is the last group.

        Raises:
            ModelError: If a parameter is in no group or in more than one.
        """
        expected = [name for name, _ in self.named_parameters()]
        groups = [[f"backbone.{name}" for name in group] for group in self._backbone_groups()]
        groups.append([name for name in expected if not name.startswith("backbone.")])
        named = [name for group in groups for name in group]
        if sorted(named) != sorted(expected):
            wrong = sorted(
                name for name in {*named, *expected} if (named.count(name), expected.count(name)) != (1, 1)
            )
            problem, hint = "cannot assign this architecture's parameters to layers", "set layer_decay to 1.0"
            raise ModelError(
                problem,
                got=f"{wrong[0]}, in {named.count(wrong[0])} groups",
                expected="each in one",
                hint=hint,
            )
        return [group for group in groups if group]


@contextlib.contextmanager
def headless(model: Any) -> Iterator[None]:
    """Let a classifier return its features, for as long as the context lasts."""
    head, model.head = model.head, nn.Identity()
    try:
        yield
    finally:
        model.head = head


class HeadAlone(nn.Module):
    """The head of a classifier whose backbone is frozen; it reads features that were computed once."""

    def __init__(self, head: Head) -> None:
        """`head` stays that of its classifier: training this module trains it."""
        super().__init__()
        self.head = head

    smallest_part = 1

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map (outputs, width) to (outputs, logits)."""
        logits: torch.Tensor = self.head(features)
        return logits

    def unpackable(self) -> str | None:
        """See `Classifier`."""
        return "features are not packed"

    def checkpoint_activations(self) -> None:
        """Do nothing: there are no layers below the head."""

    def layer_groups(self) -> list[list[str]]:
        """Return the names of the head's parameters, in one group."""
        return [[name for name, _ in self.named_parameters()]]


def weight_mismatch(error: Exception) -> str:
    """Return torch's message about the first weight that `load_state_dict` could not load."""
    found = re.search(
        r'(Missing|Unexpected) key\(s\) in state_dict: "([^"]+)"|size mismatch for [^\n]+', str(error)
    )
    if not found:
        return first_line(error)
    return f"{found[1].lower()} {found[2]}" if found[1] else found[0].strip()
