"""Several heads on one encoder: the main task's classifier, and a head for each further task.

Input: a text classifier and the other heads. Output: a module that training and prediction take in its place;
the classifier itself shares all its weights but the other heads.
"""

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import nn

from baton import params
from baton.contracts.task_batch import MAIN
from baton.models.classifier import Head
from baton.models.text_model import TextClassifier


class SeveralHeads(nn.Module):
    """A classifier with further heads, which read what its own head reads.

    Its parameters have the classifier's names, `backbone.*` and `head.*`, and those of the other heads
    `others.TASK.*`.
    """

    smallest_part = 1  # texts have no batch statistics

    def __init__(self, classifier: TextClassifier, others: Mapping[str, Head]) -> None:
        """`classifier` is changed in place by training; `others` are heads by task."""
        super().__init__()
        # In a tuple, since it is no module of this one: its modules are.
        self._classifier = (classifier,)
        self.backbone, self.head, self.others = classifier.backbone, classifier.head, nn.ModuleDict(others)

    @property
    def classifier(self) -> TextClassifier:
        """The classifier of the main task, in this model's mode."""
        self._classifier[0].train(self.training)
        return self._classifier[0]

    def forward(self, *inputs: Any) -> torch.Tensor:
        """Return the logits of one task, (outputs, width).

        The arguments are those of the classifier. A last one that is a name (`TaskBatch`) is the task's;
        without it, the head is the main task's.
        """
        task = MAIN
        if isinstance(inputs[-1], str):
            *inputs, task = inputs  # type: ignore[assignment]
        logits: torch.Tensor = self.of(task)(self._classifier[0].read(*inputs))
        return logits

    def of(self, task: str) -> Head:
        """Return the head of a task."""
        return self.head if task == MAIN else cast("Head", self.others[task])

    def unpackable(self) -> str | None:
        """See `Classifier`."""
        return self._classifier[0].unpackable()

    def checkpoint_activations(self) -> None:
        """See `Classifier`."""
        self._classifier[0].checkpoint_activations()

    def shards(self) -> list[nn.Module]:
        """See `Classifier`."""
        return self._classifier[0].shards()

    def layer_groups(self) -> list[list[str]]:
        """See `Classifier`: all heads are in the last group."""
        *layers, head = self._classifier[0].layer_groups()
        return [
            *layers,
            [*head, *(name for name, _ in self.named_parameters() if name.startswith("others."))],
        ]


class OneTask(nn.Module):
    """A model with several heads as the predictor of one task."""

    def __init__(self, model: SeveralHeads, task: str) -> None:
        """`model` is in eval mode."""
        super().__init__()
        self.model, self.task = model, task

    def forward(self, *inputs: Any) -> torch.Tensor:
        """Return the task's logits, (outputs, width)."""
        logits: torch.Tensor = self.model(*inputs, self.task)
        return logits


def with_heads(classifier: TextClassifier, heads: Mapping[str, tuple[params.Head, int]]) -> SeveralHeads:
    """Add a head for each task, of a kind and a number of outputs, initialised from torch's global seed."""
    width = classifier.backbone.config.hidden_size
    made = {name: Head(kind, width, outputs) for name, (kind, outputs) in heads.items()}
    return SeveralHeads(classifier, made)
