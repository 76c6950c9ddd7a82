"""Dropout for the CPU, where torch's own is slow: it draws its numbers one by one on one thread (5 to 12 ns each).

Here they come 16 bits at a time from a counter-based generator, AES in counter mode, which processors have in hardware (0.2 ns each; Salmon
et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"). Its key is one draw from torch's default generator, so a torch seed fixes the
masks, whatever the number of threads. Elsewhere than on the CPU, and under torch.compile, it is torch's dropout.
"""

from typing import Any

import numpy as np
import torch
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from torch import nn

LEVELS = 2**15  # of a random number
# Integers as wide as each float: a mask of ones and zeros, laid over a float's bits, keeps it or makes it 0.
BITS = {
    torch.bfloat16: torch.int16,
    torch.float16: torch.int16,
    torch.float32: torch.int32,
    torch.float64: torch.int64,
}


class Dropout(nn.Dropout):
    """`nn.Dropout` with another source of randomness; no parameters, no state."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002  torch's name
        """Any shape; in eval mode the input itself."""
        if not self.training or self.p == 0 or keep_levels(self.p) == 0 or not usable(input):
            return super().forward(input)
        output: torch.Tensor = _Dropout.apply(input, self.p)
        return output


def install(model: nn.Module) -> None:
    """Put `Dropout` in the place of every `nn.Dropout`, with its rate and mode."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if type(child) is nn.Dropout:
                setattr(module, name, Dropout(child.p, child.inplace).train(child.training))


def usable(tensor: torch.Tensor) -> bool:
    """Whether `Masks` serves this tensor: eager mode, on the CPU, of a float type that it knows."""
    return tensor.device.type == "cpu" and tensor.dtype in BITS and not torch.compiler.is_compiling()


def keep_levels(rate: float) -> int:
    """How many of the `LEVELS` values of a random number keep an element."""
    return round((1 - rate) * LEVELS)


def scale(rate: float) -> float:
    """What kept elements are multiplied by, so that the mean stays: for the rate that `LEVELS` allow, which is `rate` to 1/32768."""
    return LEVELS / keep_levels(rate)


class Masks:
    """Masks one after the other, from a key that is drawn from torch's default generator."""

    def __init__(self) -> None:
        key = int(torch.empty((), dtype=torch.int64).random_())
        self._cipher = Cipher(algorithms.AES(key.to_bytes(16, "little")), modes.CTR(bytes(16))).encryptor()

    def draw(self, count: int, rate: float) -> torch.Tensor:
        """The next mask, (count,) int16: -1 (all bits set) keeps, 0 drops, the latter with a probability of `rate` to 1/32768."""
        random = np.empty(2 * count + 15, dtype=np.uint8)  # update_into wants room for a block more
        self._cipher.update_into(bytes(2 * count), random.data)
        mask = torch.from_numpy(random[: 2 * count].view(np.int16))
        # Vectorised integer arithmetic: a comparison into booleans is ten times slower. The last shift spreads the sign over all bits.
        return mask.bitwise_and_(LEVELS - 1).sub_(keep_levels(rate)).bitwise_right_shift_(15)


def masked(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """`values` where the mask keeps, 0 where it drops; `mask` is flat, in the order of contiguous `values`."""
    bits = BITS[values.dtype]
    return torch.bitwise_and(values.view(bits), mask.view(values.shape).to(bits)).view(values.dtype)


def mark(values: torch.Tensor, mask: torch.Tensor) -> None:
    """Note the mask in the signs of non-negative `values`, in place: a dropped one becomes negative (0 becomes -0)."""
    bits = BITS[values.dtype]
    values.view(bits).bitwise_or_(
        mask.bitwise_not().to(bits).bitwise_left_shift_(8 * bits.itemsize - 1).view(values.shape)
    )


def marked(values: torch.Tensor) -> torch.Tensor:
    """The mask that `mark` noted, in the shape of `values`."""
    bits = BITS[values.dtype]
    return values.view(bits).bitwise_right_shift(8 * bits.itemsize - 1).bitwise_not_()


class _Dropout(torch.autograd.Function):
    """Keeps the mask only."""

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, rate: float) -> torch.Tensor:
        ctx.mask, ctx.scale = Masks().draw(values.numel(), rate), scale(rate)
        return masked(values.contiguous(), ctx.mask).mul_(ctx.scale)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return masked(gradient.contiguous(), ctx.mask).mul_(ctx.scale), None
