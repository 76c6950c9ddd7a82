"""Attention over packed documents: one long row of tokens without padding, in which each sequence attends to itself only.

`TextClassifier` hands `Packed` down through transformers' keyword arguments, to where `models.kernels.attention` finds it. With SDPA on
CUDA, in 16 bits and without dropout of probabilities, attention is torch's `varlen_attn` (FlashAttention-2, Dao 2023, arXiv:2307.08691).
Elsewhere queries, keys and values are padded for the attention alone, and everything else of the encoder is computed without padding.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import nn

NAME = "packed"  # of the keyword argument
HALF = (torch.float16, torch.bfloat16)
WIDEST = 256  # head that FlashAttention-2 has kernels for

Attend = Callable[..., tuple[torch.Tensor, torch.Tensor | None]]


class Packed(NamedTuple):
    """Where sequences lie in a row of tokens."""

    bounds: torch.Tensor  # (sequences + 1,) int32, the first token of each, and the end
    longest: int  # tokens of the longest sequence, or more


def padded(
    inner: Attend,
    module: nn.Module,
    qkv: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    rate: float,
    scaling: float | None,
    packed: Packed,
    sliding_window: int | None,
) -> tuple[torch.Tensor, None]:
    """Each sequence by itself, padded.

    Args:
        inner: attention of padded documents, as transformers' interface has it; takes a boolean mask.
        module: the layer.
        qkv: queries, keys and values, each (1, heads, tokens, width).
        rate: of dropout on the probabilities, 0 in eval mode.
        scaling: of the scores; by default width ** -0.5.
        packed: the sequences.
        sliding_window: a token sees those less than this far from it; None: all.

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
        mask = mask | (
            places[:, None] == places
        )  # what is behind a sequence sees itself: a softmax over nothing would be NaN
    output, _ = inner(
        module, *parts, mask, dropout=rate, scaling=scaling
    )  # (sequences, longest, heads, width)
    return output.flatten(0, 1).index_select(0, slots).unsqueeze(0), None


def usable(query: torch.Tensor, rate: float) -> bool:
    """Whether `fused` serves these queries (…, width): it has no dropout, and no kernels for 32 bits."""
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
    """Each sequence by itself, without padding; arguments and result as of `padded`."""
    from torch.nn.attention.varlen import varlen_attn  # it imports torch's compiler, which takes a second

    # With a window that no sequence exceeds the result is that without one, but torch leaves it to FlashAttention: above 128 tokens it
    # would choose cuDNN on sm_90 and sm_100, which builds a plan for each new number and length of sequences.
    reach = packed.longest if sliding_window is None else sliding_window - 1
    q, k, v = (part[0].transpose(0, 1) for part in qkv)  # (tokens, heads, width)
    bounds, longest = packed.bounds, packed.longest
    output = varlen_attn(q, k, v, bounds, bounds, longest, longest, scale=scaling, window_size=(reach, reach))
    assert isinstance(output, torch.Tensor)
    return output.unsqueeze(0), None


def _slots(packed: Packed, count: int) -> torch.Tensor:
    """Place of each of `count` tokens (tokens,) in sequences that are padded to `longest` and then flattened."""
    tokens = torch.arange(count, device=packed.bounds.device)
    owner = torch.bucketize(tokens, packed.bounds[1:], right=True)  # (tokens,)
    return tokens - packed.bounds[owner] + owner * packed.longest


def _padded(part: torch.Tensor, slots: torch.Tensor, sequences: int, longest: int) -> torch.Tensor:
    """(1, heads, tokens, width) -> (sequences, heads, longest, width), with zeros."""
    rows = part[0].transpose(0, 1)  # (tokens, heads, width)
    padded = rows.new_zeros(sequences * longest, *rows.shape[1:]).index_copy(0, slots, rows)
    return padded.view(sequences, longest, *rows.shape[1:]).transpose(1, 2)


def sums(values: torch.Tensor, bounds: torch.Tensor) -> torch.Tensor:
    """Sums of neighbouring rows: (rows, width), bounds (groups + 1,) -> (groups, width). What is behind the last bound is left out.

    Each sum is one thread's on CUDA: no order that changes from run to run, as that of `index_add`.
    """
    total: torch.Tensor = torch.segment_reduce(values, "sum", offsets=bounds, axis=0, initial=0, unsafe=True)
    return total
