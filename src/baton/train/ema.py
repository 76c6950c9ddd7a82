"""Keep an exponential moving average of a model's weights, which is less noisy than the last weights.

See Polyak & Juditsky 1992; Tarvainen & Valpola 2017. Floating-point buffers (batch normalisation statistics)
are averaged like weights. The decay starts low and rises to its value, so that the first weights do not hold
back a short training run: min(decay, (1 + step) / (10 + step)).
"""

import contextlib
from collections.abc import Collection, Iterator, Mapping

import torch
from torch import nn

from baton.runtime import sharding


class Average:
    """The moving average of a model that is trained in place."""

    def __init__(self, model: nn.Module, decay: float, frozen: Collection[str] = ()) -> None:
        """Start at the model's current weights; those of `frozen` parameters are not averaged."""
        self.decay = decay
        # The tensors themselves, not copies: training and loading write into them.
        self._live = {
            name: tensor.detach()
            for name, tensor in model.state_dict().items()
            if tensor.is_floating_point() and name not in frozen
        }
        self.weights = {name: tensor.clone() for name, tensor in self._live.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Update the average after optimizer step `step` (from 1)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        averaged, live = (
            [sharding.own(tensor) for tensor in tensors.values()] for tensors in (self.weights, self._live)
        )
        torch._foreach_lerp_(averaged, live, 1 - decay)

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Put the average into the model; afterwards restore its own weights, bit for bit."""
        own = {name: tensor.clone() for name, tensor in self._live.items()}
        try:
            _copy(self.weights, self._live)
            yield
        finally:
            _copy(own, self._live)

    def restore(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Continue from `weights`."""
        _copy(weights, self.weights)


@torch.no_grad()
def _copy(source: Mapping[str, torch.Tensor], target: Mapping[str, torch.Tensor]) -> None:
    for name, tensor in target.items():
        tensor.copy_(source[name])
