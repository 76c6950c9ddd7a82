"""The decision whether documents are packed: `runtime.packing` resolved for a model.

Input: the runtime and the model's properties. Output: the decision and its reason.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch

from baton.errors import ModelError
from baton.runtime.resolve import AMPERE, Runtime

HALF = ("bf16", "fp16")
MIXES = "mixup mixes the tokens of padded documents"


@dataclass(frozen=True)
class Facts:
    """The facts on which the decision depends."""

    capability: tuple[int, int] | None  # compute capability of the CUDA device; None: the CPU
    precision: str
    attention: str
    unpackable: str | None  # why the model, or another reader of its batches, cannot; None: they can
    attention_dropout: float


class Reader(Protocol):
    """A reader of batches: a model, or the live teacher that runs alongside it."""

    def unpackable(self) -> str | None:
        """Return why it cannot take packed documents, or None if it can."""
        ...


def settled(
    runtime: Runtime,
    model: Reader,
    attention_dropout: float = 0.0,
    companions: Sequence[Reader] = (),
    mixes: bool = False,
) -> tuple[bool, str]:
    """Return whether this model gets packed documents, and the reason.

    Args:
        runtime: its `packing` is the setting in params.
        model: any model.
        attention_dropout: the rate in training; prediction has none.
        companions: other readers of the same batches.
        mixes: whether training mixes documents with each other.

    Raises:
        ModelError: If params require packing, but the model or the device does not support it.
    """
    capability = torch.cuda.get_device_capability(runtime.device) if runtime.device.type == "cuda" else None
    unable = (why for reader in (model, *companions) if (why := reader.unpackable()))
    unpackable = MIXES if mixes else next(unable, None)
    facts = Facts(capability, runtime.precision, runtime.attention, unpackable, attention_dropout)
    return decided(runtime.packing, facts)


def decided(wanted: bool | Literal["auto"], facts: Facts) -> tuple[bool, str]:
    """Return the same as a function of `facts`."""
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
        return True, "set in params" + (f"; padded for attention only: {padded}" if padded else "")
    if unable or padded:
        return False, unable or padded
    return True, "no padding is computed, attention is variable-length FlashAttention-2"


def _too_old(facts: Facts) -> str:
    if facts.capability is None or facts.capability >= AMPERE or facts.precision not in HALF:
        return ""
    capability = ".".join(map(str, facts.capability))
    return f"FlashAttention-2 needs compute capability 8.0, but this GPU has {capability}"


def _padded_for(facts: Facts) -> str:
    """Return why attention needs padding, or an empty string if it does not."""
    if facts.capability is None:
        return (
            "the CPU has no variable-length attention, and batches of similar lengths contain little padding"
        )
    if facts.precision not in HALF:
        return f"FlashAttention-2 computes in 16 bits, but precision is {facts.precision}"
    if facts.attention != "sdpa":
        return f"attention is {facts.attention}"
    return "variable-length attention has no dropout of probabilities" if facts.attention_dropout else ""
