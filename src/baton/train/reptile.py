"""Reptile: move the weights towards those to which a few steps on an episode lead.

Nichol et al. 2018, On first-order meta-learning algorithms (arXiv:1803.02999). The difference between a
model's weights and the adapted ones takes the place of a gradient, which section 2 of the paper passes to
Adam. So the training loop, its optimizer, accumulation, processes and checkpoints stay as they are: between
two steps of the loop there is no other state than its own.
"""

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from baton.batches.episodes import EpisodeBatch
from baton.contracts.batch import Batch
from baton.losses.loss import Model, own


class Reptile(nn.Module):
    """A model of features, `learner`, whose forward pass adapts it to an episode and undoes that again."""

    def __init__(self, learner: Any, way: int, width: int, rate: float) -> None:
        """`rate` is that of SGD on an episode; `width` is that of the features."""
        super().__init__()
        self.learner, self.way, self.width, self.rate = learner, way, width, rate

    def forward(self, episode: EpisodeBatch) -> torch.Tensor:
        """Return the last loss of adapting to an episode, (); its gradient is the adaptation's direction.

        That is (weights - adapted weights) / rate. A block of the episode is one step of SGD on all weights
        and on a linear head for the episode's classes, which starts at zero: it then does not depend on the
        order of classes (Kao et al. 2022, arXiv:2106.15367). The rows of a class are together in a block.
        """
        weights = [parameter for parameter in self.learner.parameters() if parameter.requires_grad]
        before = [weight.detach().clone() for weight in weights]
        moved = [torch.zeros_like(weight) for weight in before]
        head = torch.zeros(self.way, self.width + 1, device=before[0].device, requires_grad=True)
        loss, used = torch.zeros(()), [False] * len(weights)
        try:
            for block in episode.blocks:
                loss = self._loss(block, head)
                *found, of_head = torch.autograd.grad(loss, [*weights, head], allow_unused=True)
                with torch.no_grad():
                    head -= self.rate * of_head
                    for place, gradient in enumerate(found):
                        if gradient is not None:
                            used[place] = True
                            moved[place] += gradient
                            weights[place] -= self.rate * gradient
                torch.clear_autocast_cache()  # it holds the weights of the step before
        finally:
            with torch.no_grad():
                for weight, first in zip(weights, before, strict=True):
                    weight.copy_(first)
            torch.clear_autocast_cache()
        # A sum whose gradient in each weight is the given one. Weights that are not used have none.
        pairs = [pair for pair, counts in zip(zip(weights, moved, strict=True), used, strict=True) if counts]
        towards = torch.stack([(weight * direction).sum() for weight, direction in pairs]).sum()
        return loss.detach() + (towards - towards.detach())

    def _loss(self, block: Any, head: torch.Tensor) -> torch.Tensor:
        """Return the mean cross-entropy of a block, (), in fp32."""
        features = own(self.learner(*block.inputs), block).float()  # (way * shots, width)
        logits = (features[:, None] * head[:, :-1]).sum(-1) + head[:, -1]  # (way * shots, way)
        labels = torch.arange(self.way, device=logits.device).repeat_interleave(len(logits) // self.way)
        return functional.cross_entropy(logits, labels)

    @property
    def smallest_part(self) -> int:
        """See `Classifier`."""
        return int(self.learner.smallest_part)

    def unpackable(self) -> str | None:
        """See `Classifier`."""
        return self.learner.unpackable()  # type: ignore[no-any-return]

    def checkpoint_activations(self) -> None:
        """See `Classifier`."""
        self.learner.checkpoint_activations()

    def layer_groups(self) -> list[list[str]]:
        """See `Classifier`."""
        return [[f"learner.{name}" for name in group] for group in self.learner.layer_groups()]

    def no_weight_decay(self) -> set[str]:
        """Return the names of weights that are never decayed."""
        return {f"learner.{name}" for name in getattr(self.learner, "no_weight_decay", set)()}


def loss(model: Model, episode: Batch) -> torch.Tensor:
    """Return the loss of `Reptile`, as the training loop calls one."""
    return model(*episode.inputs)
