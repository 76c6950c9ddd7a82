"""A workaround that computes strided convolutions over narrow feature maps in 32 bits on the CPU.

In bf16 oneDNN leaves part of their results unwritten if a row of the map is short (torch 2.14.1, with and
without AMX): the gradient of the weights then contains stale memory. This happens at widths of 1 to 7 with
kernels of 2 to 7 and strides of 2 to 4, but never in 32 bits or with a stride of 1. Such maps are small, so
the cost is not measurable.
"""

import functools
from typing import Any, cast

import torch
from torch import nn

NARROW = 8  # height or width below which a map is narrow


def install(model: nn.Module) -> None:
    """Apply the workaround to a model's strided convolutions; weights, names and copies are not affected."""
    for module in model.modules():
        strided = isinstance(module, nn.Conv2d) and max(module.stride) > 1 and max(module.kernel_size) > 1
        if strided and not hasattr(module, "_exact_if_narrow"):
            module.__class__ = _exact(cast("Any", type(module)))


@functools.cache
def _exact(kind: Any) -> Any:
    """Return a subclass of `kind` that computes the forward pass of narrow maps in 32 bits."""

    class Exact(kind):  # type: ignore[misc]
        _exact_if_narrow = True

        def forward(self, maps: torch.Tensor) -> torch.Tensor:
            """Map (batch, channels, height, width) to the output in the same layout."""
            narrow = min(maps.shape[-2:]) < NARROW
            if not (narrow and maps.device.type == "cpu" and torch.is_autocast_enabled("cpu")):
                return cast("torch.Tensor", super().forward(maps))
            with torch.autocast("cpu", enabled=False):
                output: torch.Tensor = super().forward(maps.float())
            return output.to(torch.get_autocast_dtype("cpu"))

    Exact.__name__, Exact.__qualname__ = kind.__name__, kind.__qualname__
    return Exact
