"""Compile a model for training.

If shapes vary, the model is compiled layer by layer, so that layers of the same kind share compiled code;
otherwise it is compiled as a whole. The model itself is unchanged: validation and prediction, which compute
without gradients, compile nothing.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from baton.runtime import sharding

# Settings of torch's compiler during a pass; graphs compiled later, in the backward pass, were traced before.
SETTINGS: dict[str, bool | int] = {
    # Layers share their code, and so do the models of all seeds, teachers and students: the default limit of
    # 8 is soon reached.
    "recompile_limit": 10_000,
    "accumulated_recompile_limit": 10_000,
    # Rates and epsilons are the same in all layers of a text encoder; as graph inputs they would nearly
    # double the compile time.
    "specialize_float": True,
    # Otherwise the number of heads and the like would be graph inputs for a split layer, since no guard would
    # check them for changes.
    "skip_fsdp_guards": False,
    # DDP would split a graph at its 25 MB gradient buckets, which requires static shapes. A whole graph, as
    # in a single process and as `auto` measures it, exchanges gradients when its backward pass is done;
    # compiled by layer, the exchange still overlaps with the layers below.
    "optimize_ddp": False,
}


class Compiled(nn.Module):
    """A model whose training passes are compiled, until it is `restored`."""

    def __init__(self, model: nn.Module, fixed_shapes: bool) -> None:
        """Compile `model`.

        With `fixed_shapes` each batch shape gets its own kernels; otherwise the same kernels serve any number
        of documents and tokens. A model without trainable weights (a teacher) is compiled without gradients.
        The weights of a split model are gathered between layers, outside the compiled code.
        """
        super().__init__()
        self.model = restored(model)
        self.by_layer = sharding.is_split(model) or not fixed_shapes
        self.first: int | None = None
        self.eager = False
        layers = sharding.units(model) if self.by_layer else []
        learns = any(parameter.requires_grad for parameter in model.parameters())
        for layer in layers:
            layer.forward = _Forward(
                layer.forward, fixed_shapes, lambda: self.eager or (learns and not torch.is_grad_enabled())
            )
        self.whole = None if layers else _Forward(self.model, fixed_shapes, lambda: self.eager)
        self.settings = torch._dynamo.config.patch(SETTINGS)

    def forward(self, *inputs: Any) -> torch.Tensor:
        """Run the model's forward pass.

        If shapes vary, a single row among larger batches would trigger another compilation; it runs
        uncompiled, unless it came first.
        """
        rows = len(inputs[0])
        self.first = self.first or rows
        self.eager = self.by_layer and rows == 1 != self.first
        with self.settings:
            output: torch.Tensor = (self.whole or self.model)(*inputs)
        return output


class _Forward:
    """A forward pass that is compiled unless `eager()` is true."""

    def __init__(self, forward: Callable[..., Any], fixed_shapes: bool, eager: Callable[[], bool]) -> None:
        self.plain, self.fixed_shapes, self.eager = forward, fixed_shapes, eager
        self.compiled = torch.compile(forward, dynamic=not fixed_shapes)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.eager():
            return self.plain(*args, **kwargs)
        if not self.fixed_shapes:
            _mark((args, kwargs))
        return self.compiled(*args, **kwargs)


def restored(model: nn.Module) -> nn.Module:
    """Return the model with its layers no longer compiled."""
    for layer in sharding.units(model):
        if isinstance(layer.__dict__.get("forward"), _Forward):
            del layer.forward
    return model


def _mark(inputs: Any) -> None:
    """Mark each size as varying.

    Otherwise torch would assume that two sizes that are equal at first (32 documents of 32 tokens) stay
    equal. A view is also described by its base tensor, so that is marked too.
    """
    if isinstance(inputs, torch.Tensor):
        torch._dynamo.maybe_mark_dynamic(inputs, list(range(inputs.ndim)))
        _mark(inputs._base)
    elif isinstance(inputs, dict):
        _mark(tuple(inputs.values()))
    elif isinstance(inputs, tuple):
        for item in inputs:
            _mark(item)
