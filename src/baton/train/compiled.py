"""A model compiled for training: layer by layer where shapes vary, so that layers of a kind share what was compiled; else as a whole.

The model itself stays what it was: validation and prediction, which compute without gradients, compile nothing.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from baton.runtime import sharding

# Of torch's compiler, while a pass is computed; what it compiles later, in the backward pass, was traced before.
SETTINGS: dict[str, bool | int] = {
    # Layers share their code, and so do the models of all seeds, teachers and students: 8 kinds and shapes are soon reached.
    "recompile_limit": 10_000,
    "accumulated_recompile_limit": 10_000,
    # Rates and epsilons are the same in all layers of a text's encoder: no inputs of a graph, which take nearly twice as long to compile.
    "specialize_float": True,
    # Of a split layer the numbers of heads and the like would be inputs too, since nothing would be checked that might change.
    "skip_fsdp_guards": False,
    # DDP's gradients would split a graph at its buckets of 25 MB, which needs static shapes. Whole, as in one process, which is what `auto`
    # measures, they are exchanged when its backward pass is done: by layer still while the layers below are computed.
    "optimize_ddp": False,
}


class Compiled(nn.Module):
    """A model whose training passes are compiled, until it is `restored`."""

    def __init__(self, model: nn.Module, fixed_shapes: bool) -> None:
        """`fixed_shapes`: each shape of a batch gets kernels of its own; else the same serve any number of documents and tokens.

        A model of which nothing learns, a teacher, is compiled without gradients. The weights of a split model are gathered between
        layers, not within what is compiled.
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
        """As of the model.

        Where shapes vary a single row among batches of several would be compiled anew: it is not compiled, unless it was the first.
        """
        rows = len(inputs[0])
        self.first = self.first or rows
        self.eager = self.by_layer and rows == 1 != self.first
        with self.settings:
            output: torch.Tensor = (self.whole or self.model)(*inputs)
        return output


class _Forward:
    """A forward pass: compiled, unless `eager` says otherwise."""

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
    """The model, its layers no longer compiled."""
    for layer in sharding.units(model):
        if isinstance(layer.__dict__.get("forward"), _Forward):
            del layer.forward
    return model


def _mark(inputs: Any) -> None:
    """Say of each size that it varies: of two that are equal at first (32 documents of 32 tokens) torch would believe that they stay so.

    A view is described by the tensor behind it too.
    """
    if isinstance(inputs, torch.Tensor):
        torch._dynamo.maybe_mark_dynamic(inputs, list(range(inputs.ndim)))
        _mark(inputs._base)
    elif isinstance(inputs, dict):
        _mark(tuple(inputs.values()))
    elif isinstance(inputs, tuple):
        for item in inputs:
            _mark(item)
