"""The precision of a served model: the setting `precision` in its model_config, `fp32`, `bf16` or `auto`.

Logged models have `fp32`, so that their answers keep their bits; `baton predict` sets `auto`, which is bf16
where the processor or the GPU computes it. Only the encoder's weights and activations are in bf16: the head
and everything after it stay in fp32.
"""

import contextlib
from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch

from baton.contracts.saved_weights import SavedHead
from baton.serve import model_settings, packed_linear

Precision = Literal["fp32", "bf16"]
SETTING = model_settings.PRECISION
CHOICES = ("fp32", "bf16", "auto")
AMPERE = (8, 0)  # the first architecture with bf16


def wanted(config: Mapping[str, Any] | None) -> str:
    """Return the precision in a model_config; models of earlier versions have none.

    Raises:
        ValueError: It is none of `CHOICES`.
    """
    found = str((config or {}).get(SETTING, CHOICES[0]))
    if found not in CHOICES:
        raise ValueError(
            f"model_config is invalid\n  got:      {SETTING} {found!r}\n"
            f"  expected: one of {', '.join(CHOICES)}\n  next:     fix {SETTING}, or leave it out"
        )
    return found


def resolved(wanted: str, device: torch.device) -> Precision:
    """Return the precision of computations on a device; without support, bf16 would be slower than fp32."""
    if wanted == "auto":
        if device.type == "cuda":
            able = torch.cuda.get_device_capability(device) >= AMPERE
        else:
            able = bool(torch.cpu._is_avx512_bf16_supported())
        return "bf16" if able else "fp32"
    return "bf16" if wanted == "bf16" else "fp32"


def dtype(precision: Precision) -> torch.dtype:
    """Return the type of an encoder's inputs, if they are numbers."""
    return torch.bfloat16 if precision == "bf16" else torch.float32


def prepared(
    make: Callable[[torch.dtype], Any],
    wanted: Precision,
    device: torch.device,
    trial: Callable[[Any], torch.Tensor],
) -> tuple[Any, Precision]:
    """Return an encoder, ready to predict on a device, and its precision.

    It is in fp32 if `trial`, which runs it, does not work in bf16: some families have parts in 32 bits. Then
    it is made again, rather than kept twice meanwhile. `make` gets the type of weights, and may ignore it.
    """
    if wanted == "bf16":
        short = _shortened(_still(make(torch.bfloat16)), device)
        with contextlib.suppress(RuntimeError, TypeError), torch.no_grad():
            if bool(trial(short).isfinite().all()):
                return short, "bf16"
    return _still(make(torch.float32)).to(device), "fp32"


def own_head(head: SavedHead) -> SavedHead:
    """Return a head with weights of its own: others would keep the whole file of weights in memory."""
    return SavedHead({name: weight.clone() for name, weight in head.weights.items()})


def _still(encoder: Any) -> Any:
    return encoder.eval().requires_grad_(False)


def _shortened(encoder: torch.nn.Module, device: torch.device) -> torch.nn.Module:
    for block in encoder.modules():
        if [*block.parameters(recurse=False)]:  # tables of rotary positions are in blocks without any
            for tensor in (*block.parameters(recurse=False), *block.buffers(recurse=False)):
                if tensor.is_floating_point():
                    tensor.data = tensor.data.to(torch.bfloat16)
    encoder.to(device)
    if device.type == "cpu":
        packed_linear.pack(encoder)
    return encoder
