"""Whether documents are packed: `runtime.packing`, settled for a model with a reason.

Inputs: the runtime, and what the model says of itself -> yes or no, and why.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch

from baton.errors import ModelError
from baton.runtime.resolve import AMPERE, Runtime

HALF = ("bf16", "fp16")


@dataclass(frozen=True)
class Facts:
    """What the choice depends on."""

    capability: tuple[int, int] | None  # of the CUDA device; None: the CPU
    precision: str
    attention: str
    unpackable: str | None  # why the model, or what reads beside it, cannot; None: they can
    attention_dropout: float


class Reader(Protocol):
    """What reads batches: a model, or a live teacher beside it."""

    def unpackable(self) -> str | None:
        """Why it cannot take packed documents; None: it can."""
        ...


def settled(
    runtime: Runtime, model: Reader, attention_dropout: float = 0.0, beside: Sequence[Reader] = ()
) -> tuple[bool, str]:
    """Whether this model gets packed documents, and the reason.

    Args:
        runtime: its `packing` is what params want.
        model: any.
        attention_dropout: rate of the training; prediction has none.
        beside: what reads the same batches.

    Raises:
        ModelError: params want what the model or the device cannot.
    """
    capability = torch.cuda.get_device_capability(runtime.device) if runtime.device.type == "cuda" else None
    unpackable = next((why for reader in (model, *beside) if (why := reader.unpackable())), None)
    facts = Facts(capability, runtime.precision, runtime.attention, unpackable, attention_dropout)
    return decided(runtime.packing, facts)


def decided(wanted: bool | Literal["auto"], facts: Facts) -> tuple[bool, str]:
    """The same as a function of facts."""
    if wanted is False:
        return False, "set in params"
    unable = facts.unpackable or _too_old(facts)
    if wanted is True and unable:
        hint = "set runtime.packing to auto or false"
        raise ModelError(
            "runtime.packing: documents cannot be packed here",
            got=unable,
            expected="a model and device that can",
            hint=hint,
        )
    padded = _padded_for(facts)
    if wanted is True:
        return True, "set in params" + (f"; padded for the attention alone: {padded}" if padded else "")
    if unable or padded:
        return False, unable or padded
    return True, "no padding is computed, attention is FlashAttention-2 of varying lengths"


def _too_old(facts: Facts) -> str:
    if facts.capability is None or facts.capability >= AMPERE or facts.precision not in HALF:
        return ""
    return f"FlashAttention-2 needs compute capability 8.0, and this GPU has {'.'.join(map(str, facts.capability))}"


def _padded_for(facts: Facts) -> str:
    """Why attention could not do without padding."""
    if facts.capability is None:
        return (
            "the CPU has no attention of varying lengths, and batches of similar lengths hold little padding"
        )
    if facts.precision not in HALF:
        return f"FlashAttention-2 computes in 16 bits, precision is {facts.precision}"
    if facts.attention != "sdpa":
        return f"attention is {facts.attention}"
    return "attention of varying lengths has no dropout of probabilities" if facts.attention_dropout else ""
