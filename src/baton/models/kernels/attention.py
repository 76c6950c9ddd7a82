"""Attention by matrix products for training in bf16 on the CPU, selected by `runtime.attention: matmul`.

It computes the same as transformers' "eager" with less memory traffic: queries are scaled instead of scores;
scores, mask and softmax share one buffer in the working precision (softmax computes in fp32 internally); a
few documents are computed at a time, so that their scores stay in the processor's cache. It is registered
with transformers' `AttentionInterface`; encoder families that do not use that interface keep "eager".
"""

from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import eager_mask, sdpa_mask

from baton.models.kernels import dropout as dropouts
from baton.models.kernels import varlen

NAME = "baton_matmul"
NAME_SDPA = "baton_sdpa"
OWN = (NAME, NAME_SDPA)
SKIP = "allow_is_bidirectional_skip"
# Bytes of scores computed at a time: the size of two cores' L2 caches.
CHUNK_BYTES = 2**21


def install(backbone: Any) -> None:
    """Make an encoder use these implementations, if its family supports attention backends.

    One built with "eager" attention then uses `attend`, one built with "sdpa" uses `attend_sdpa` and our
    mask.
    """
    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, additive_mask)
    AttentionInterface.register(NAME_SDPA, attend_sdpa)
    AttentionMaskInterface.register(NAME_SDPA, boolean_mask)
    name = {"eager": NAME, "sdpa": NAME_SDPA}.get(backbone.config._attn_implementation)
    if name and type(backbone)._supports_attention_backend:
        backbone.set_attn_implementation(name)


def additive_mask(**options: Any) -> torch.Tensor | None:
    """Return transformers' eager mask, (batch, 1, queries, keys), in the precision of the scores."""
    dtype = _working(options.get("dtype", torch.float32), torch.device(options.get("device", "cpu")))
    mask: torch.Tensor | None = eager_mask(**(options | {"dtype": dtype, SKIP: _may_skip(options)}))
    return mask


def boolean_mask(**options: Any) -> torch.Tensor | None:
    """Return transformers' SDPA mask, (batch, 1, queries, keys), True for visible keys; None if all are."""
    mask: torch.Tensor | None = sdpa_mask(**(options | {SKIP: _may_skip(options)}))
    return mask


def _may_skip(options: dict[str, Any]) -> bool:
    """Return whether to check if a mask is needed at all.

    On a device the host would have to wait for the answer, unless there is no mask to read.
    """
    unread = options.get("attention_mask") is None
    return bool(options.get(SKIP)) and (unread or torch.device(options.get("device", "cpu")).type == "cpu")


def attend_sdpa(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **options: Any,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Compute transformers' SDPA attention, or that of packed documents; see `attend` for the arguments."""
    packed = options.pop(varlen.NAME, None)
    if packed is not None:
        qkv, window = (query, key, value), options.get("sliding_window")
        if varlen.usable(query, dropout):
            return varlen.fused(qkv, scaling, packed, window)
        return varlen.padded(sdpa_attention_forward, module, qkv, dropout, scaling, packed, window)
    return sdpa_attention_forward(
        module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **options
    )


def attend(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **options: Any,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Compute softmax(query · keyᵀ · scaling + mask) · value through transformers' attention interface.

    Args:
        module: the layer; `dropout` applies if it is in training mode.
        query: (batch, heads, queries, width); `key` and `value` are (batch, heads, keys, width).
        key: see `query`.
        value: see `query`.
        attention_mask: additive, broadcastable to (batch, heads, queries, keys), or None.
        dropout: the rate on the probabilities.
        scaling: the factor on the scores; by default width ** -0.5.
        options: `position_bias` is added to the scores; `output_attentions` requests the probabilities;
            `packed`: see `varlen.padded`.

    Returns:
        (batch, queries, heads, width), and the probabilities if requested.
    """
    if options.get(varlen.NAME) is not None:
        rate, window = dropout if module.training else 0.0, options.get("sliding_window")
        return varlen.padded(attend, module, (query, key, value), rate, scaling, options[varlen.NAME], window)
    dtype = _working(query.dtype, query.device)
    query, key, value = query.to(dtype), key.to(dtype), value.to(dtype)
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    rate = dropout if module.training else 0.0
    if attention_mask is not None:
        attention_mask = _additive(attention_mask, dtype)
    if options.get("position_bias") is not None:
        bias = options["position_bias"].to(dtype)
        attention_mask = bias if attention_mask is None else bias + attention_mask
    asked = bool(options.get("output_attentions"))
    grouped = key.shape[1] != query.shape[1]
    learned = attention_mask is not None and attention_mask.requires_grad
    if asked or grouped or learned or dropouts.keep_levels(rate) == 0 or not dropouts.usable(query):
        return _plain(query, key, value, attention_mask, rate, scaling)
    output: torch.Tensor = _Attention.apply(query, key, value, attention_mask, rate, scaling)
    return output, None


def _working(dtype: torch.dtype, device: torch.device) -> torch.dtype:
    """Return the precision of matrix products: autocast's if it is enabled."""
    return torch.get_autocast_dtype(device.type) if torch.is_autocast_enabled(device.type) else dtype


def _additive(mask: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Return the mask in the scores' precision.

    Values are clamped: the lowest number of a wider type would become -inf, and a fully masked row NaN.
    """
    if mask.dtype == torch.bool:
        return torch.zeros((), dtype=dtype, device=mask.device).masked_fill(~mask, torch.finfo(dtype).min)
    return mask if mask.dtype == dtype else mask.clamp(min=torch.finfo(dtype).min).to(dtype)


def _plain(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    rate: float,
    scaling: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute attention with torch's operations: on other devices, compiled, or to return probabilities."""
    groups = query.shape[1] // key.shape[1]  # several query heads may share a key head
    key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    scores = query * scaling @ key.transpose(2, 3)  # (batch, heads, queries, keys)
    if mask is not None:
        scores = scores + mask
    weights = torch.dropout(scores.softmax(-1).to(value.dtype), rate, True)
    return (weights @ value).transpose(1, 2).contiguous(), weights


class _Attention(torch.autograd.Function):
    """Attention that keeps one buffer of probabilities for backward; a negative sign marks a dropped one."""

    @staticmethod
    def forward(
        ctx: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        mask: torch.Tensor | None,
        rate: float,
        scaling: float,
    ) -> torch.Tensor:
        batch, heads, queries, _ = query.shape
        with torch.autocast("cpu", enabled=False):
            # q is (batch * heads, queries, width); k and v are (batch * heads, keys, width).
            q = torch.mul(query, scaling, out=query.new_empty(query.shape)).flatten(0, 1)
            k, v = key.contiguous().flatten(0, 1), value.contiguous().flatten(0, 1)
            signed = q.new_empty(batch * heads, queries, k.shape[1])
            output = q.new_empty(batch * heads, queries, v.shape[2])
            masks = dropouts.Masks() if rate else None
            for part, rows in _chunks(batch, heads, signed):
                weights = torch.bmm(q[rows], k[rows].transpose(1, 2), out=signed[rows])
                if mask is not None:
                    weights.view(-1, heads, *weights.shape[1:]).add_(mask[part] if len(mask) > 1 else mask)
                torch.softmax(weights, -1, out=weights)
                if masks:
                    kept = masks.draw(weights.numel(), rate)
                    torch.bmm(dropouts.masked(weights, kept), v[rows], out=output[rows])
                    dropouts.mark(weights, kept)
                else:
                    torch.bmm(weights, v[rows], out=output[rows])
            ctx.save_for_backward(q, k, v, signed)
            ctx.heads, ctx.rate, ctx.scaling, ctx.scale = heads, rate, scaling, dropouts.scale(rate)
            return output.mul_(ctx.scale).view(batch, heads, queries, -1).transpose(1, 2).contiguous()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        q, k, v, signed = ctx.saved_tensors
        batch, heads = len(q) // ctx.heads, ctx.heads
        shape = (batch, heads, q.shape[1], v.shape[2])
        # g is (batch * heads, queries, width).
        g = torch.mul(gradient.transpose(1, 2), ctx.scale, out=gradient.new_empty(shape)).flatten(0, 1)
        dq, dk, dv = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
        for _, rows in _chunks(batch, heads, signed):
            weights = signed[rows]
            kept = weights.clamp_min(0) if ctx.rate else weights
            torch.bmm(kept.transpose(1, 2), g[rows], out=dv[rows])
            slopes = torch.bmm(g[rows], v[rows].transpose(1, 2))
            if ctx.rate:
                slopes, weights = dropouts.masked(slopes, dropouts.marked(weights)), weights.abs()
            torch.ops.aten._softmax_backward_data.out(slopes, weights, -1, slopes.dtype, grad_input=slopes)
            torch.bmm(slopes, k[rows], out=dq[rows])
            torch.bmm(slopes.transpose(1, 2), q[rows], out=dk[rows])
        dq.mul_(ctx.scaling)
        return *(item.view(batch, heads, *item.shape[1:]) for item in (dq, dk, dv)), None, None, None


def _chunks(batch: int, heads: int, scores: torch.Tensor) -> list[tuple[slice, slice]]:
    """Split documents into parts whose `scores` (batch * heads, queries, keys) fit into `CHUNK_BYTES`.

    Each part is a slice of documents and the corresponding slice of documents * heads.
    """
    document = heads * scores[0].numel() * scores.element_size()
    size = max(1, CHUNK_BYTES // max(1, document))
    return [
        (slice(start, min(start + size, batch)), slice(start * heads, min(start + size, batch) * heads))
        for start in range(0, batch, size)
    ]
