"""Dropout for the CPU, where torch's own is slow: one thread draws numbers one by one (5 to 12 ns each).

Here they are drawn 16 bits at a time from a counter-based generator, AES in counter mode, which processors
implement in hardware (0.2 ns each; Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"). Its
key is one draw from torch's default generator, so a torch seed determines the masks, regardless of the number
of threads. On other devices and under torch.compile, torch's dropout is used.
"""

from typing import Any

import numpy as np
import torch
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from torch import nn

LEVELS = 2**15  # of a random number
# The integer type as wide as each float type: a bitwise AND of a float with all ones keeps it, with zeros
# clears it.
BITS = {
    torch.bfloat16: torch.int16,
    torch.float16: torch.int16,
    torch.float32: torch.int32,
    torch.float64: torch.int64,
}


class Dropout(nn.Dropout):
    """`nn.Dropout` with a different source of random numbers; it has no parameters and no state."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002  torch's name
        """Apply dropout to a tensor of any shape; in eval mode return the input itself."""
        if not self.training or self.p == 0 or keep_levels(self.p) == 0 or not usable(input):
            return super().forward(input)
        output: torch.Tensor = _Dropout.apply(input, self.p)
        return output


def install(model: nn.Module) -> None:
    """Replace every `nn.Dropout` by a `Dropout` with the same rate and mode."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if type(child) is nn.Dropout:
                setattr(module, name, Dropout(child.p, child.inplace).train(child.training))


def usable(tensor: torch.Tensor) -> bool:
    """Return whether `Masks` supports this tensor: on the CPU, its type in `BITS`, and not compiled."""
    return tensor.device.type == "cpu" and tensor.dtype in BITS and not torch.compiler.is_compiling()


def keep_levels(rate: float) -> int:
    """Return how many of the `LEVELS` values of a random number keep an element."""
    return round((1 - rate) * LEVELS)


def scale(rate: float) -> float:
    """Return the factor on kept elements that preserves the mean.

    It is exact for the rate that `LEVELS` can represent, which is within 1/32768 of `rate`.
    """
    return LEVELS / keep_levels(rate)


class Masks:
    """A sequence of masks, whose key is drawn from torch's default generator."""

    def __init__(self) -> None:
        key = int(torch.empty((), dtype=torch.int64).random_())
        self._cipher = Cipher(algorithms.AES(key.to_bytes(16, "little")), modes.CTR(bytes(16))).encryptor()

    def draw(self, count: int, rate: float) -> torch.Tensor:
        """Return the next mask, (count,) int16.

        -1 (all bits set) keeps an element and 0 drops it, with a probability within 1/32768 of `rate`.
        """
        random = np.empty(2 * count + 15, dtype=np.uint8)  # update_into requires room for one more block
        self._cipher.update_into(bytes(2 * count), random.data)
        mask = torch.from_numpy(random[: 2 * count].view(np.int16))
        # Vectorised integer arithmetic: a comparison yielding booleans is ten times slower. The final shift
        # copies the sign to all bits.
        return mask.bitwise_and_(LEVELS - 1).sub_(keep_levels(rate)).bitwise_right_shift_(15)


def masked(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return `values` with dropped elements set to 0; `mask` is flat, in the order of contiguous `values`."""
    bits = BITS[values.dtype]
    return torch.bitwise_and(values.view(bits), mask.view(values.shape).to(bits)).view(values.dtype)


def mark(values: torch.Tensor, mask: torch.Tensor) -> None:
    """Store the mask in the signs of non-negative `values`, in place: dropped ones are negated (0 to -0)."""
    bits = BITS[values.dtype]
    values.view(bits).bitwise_or_(
        mask.bitwise_not().to(bits).bitwise_left_shift_(8 * bits.itemsize - 1).view(values.shape)
    )


def marked(values: torch.Tensor) -> torch.Tensor:
    """Return the mask that `mark` stored, in the shape of `values`."""
    bits = BITS[values.dtype]
    return values.view(bits).bitwise_right_shift(8 * bits.itemsize - 1).bitwise_not_()


class _Dropout(torch.autograd.Function):
    """Dropout that keeps only the mask for the backward pass."""

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, rate: float) -> torch.Tensor:
        ctx.mask, ctx.scale = Masks().draw(values.numel(), rate), scale(rate)
        return masked(values.contiguous(), ctx.mask).mul_(ctx.scale)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return masked(gradient.contiguous(), ctx.mask).mul_(ctx.scale), None
