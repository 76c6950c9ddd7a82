"""Attention over packed documents: a row of tokens without padding, in which each sequence attends to itself.

`TextClassifier` passes `Packed` through transformers' keyword arguments to `models.kernels.attention`. With
SDPA on CUDA, in 16 bits and without dropout of probabilities, attention is torch's `varlen_attn`
(FlashAttention-2, Dao 2023, arXiv:2307.08691). Otherwise queries, keys and values are padded for attention
only, and the rest of the encoder is computed without padding.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import nn

NAME = "packed"  # the keyword argument
HALF = (torch.float16, torch.bfloat16)
WIDEST = 256  # the widest head for which FlashAttention-2 has kernels

Attend = Callable[..., tuple[torch.Tensor, torch.Tensor | None]]


class Packed(NamedTuple):
    """The positions of sequences in a row of tokens."""

    bounds: torch.Tensor  # (sequences + 1,) int32: the first token of each, and the end
    longest: int  # at least the length of the longest sequence


def padded(
    inner: Attend,
    module: nn.Module,
    qkv: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    rate: float,
    scaling: float | None,
    packed: Packed,
    sliding_window: int | None,
) -> tuple[torch.Tensor, None]:
    """Compute attention within each sequence, with padding.

    Args:
        inner: attention of padded documents with transformers' interface; it takes a boolean mask.
        module: the layer.
        qkv: queries, keys and values, each (1, heads, tokens, width).
        rate: the rate of dropout on the probabilities, 0 in eval mode.
        scaling: the factor on the scores; by default width ** -0.5.
        packed: the sequences.
        sliding_window: a token attends to those closer than this; None: to all.

    Returns:
        (1, tokens, heads, width).
    """
    query = qkv[0]
    sequences, longest, slots = len(packed.bounds) - 1, packed.longest, _slots(packed, query.shape[2])
    parts = [_padded(part, slots, sequences, longest) for part in qkv]
    places = torch.arange(longest, device=query.device)
    mask = (places < packed.bounds.diff().unsqueeze(1))[:, None, None, :]  # (sequences, 1, 1, keys)
    if sliding_window is not None:
        mask = mask & ((places[:, None] - places).abs() < sliding_window)  # (sequences, 1, queries, keys)
        # Padding attends to itself: a softmax over nothing would be NaN.
        mask = mask | (places[:, None] == places)
    # The output is (sequences, longest, heads, width).
    output, _ = inner(module, *parts, mask, dropout=rate, scaling=scaling)
    return output.flatten(0, 1).index_select(0, slots).unsqueeze(0), None


def usable(query: torch.Tensor, rate: float) -> bool:
    """Return whether `fused` supports these queries (…, width): it has no dropout and no 32-bit kernels."""
    return (
        query.is_cuda
        and query.dtype in HALF
        and rate == 0
        and query.shape[-1] % 8 == 0
        and query.shape[-1] <= WIDEST
    )


def fused(
    qkv: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    scaling: float | None,
    packed: Packed,
    sliding_window: int | None,
) -> tuple[torch.Tensor, None]:
    """Compute attention within each sequence, without padding; arguments and result are those of `padded`."""
    from torch.nn.attention.varlen import varlen_attn  # it imports torch's compiler, which takes a second

    # A window that no sequence exceeds does not change the result, but makes torch choose FlashAttention:
    # above 128 tokens it would choose cuDNN on sm_90 and sm_100, which builds a plan for each new number and
    # length of sequences.
    reach = packed.longest if sliding_window is None else sliding_window - 1
    q, k, v = (part[0].transpose(0, 1) for part in qkv)  # (tokens, heads, width)
    bounds, longest = packed.bounds, packed.longest
    output = varlen_attn(q, k, v, bounds, bounds, longest, longest, scale=scaling, window_size=(reach, reach))
    assert isinstance(output, torch.Tensor)
    return output.unsqueeze(0), None


def _slots(packed: Packed, count: int) -> torch.Tensor:
    """Return the index of each of `count` tokens, (tokens,), in the padded and then flattened sequences."""
    tokens = torch.arange(count, device=packed.bounds.device)
    owner = torch.bucketize(tokens, packed.bounds[1:], right=True)  # (tokens,)
    return tokens - packed.bounds[owner] + owner * packed.longest


def _padded(part: torch.Tensor, slots: torch.Tensor, sequences: int, longest: int) -> torch.Tensor:
    """Pad (1, heads, tokens, width) with zeros to (sequences, heads, longest, width)."""
    rows = part[0].transpose(0, 1)  # (tokens, heads, width)
    padded = rows.new_zeros(sequences * longest, *rows.shape[1:]).index_copy(0, slots, rows)
    return padded.view(sequences, longest, *rows.shape[1:]).transpose(1, 2)


def sums(values: torch.Tensor, bounds: torch.Tensor) -> torch.Tensor:
    """Sum neighbouring rows: (rows, width), bounds (groups + 1,) -> (groups, width).

    Rows after the last bound are ignored. On CUDA one thread computes each sum, so its order does not change
    from run to run, unlike that of `index_add`.
    """
    total: torch.Tensor = torch.segment_reduce(values, "sum", offsets=bounds, axis=0, initial=0, unsafe=True)
    return total
