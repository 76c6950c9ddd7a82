"""Windows of documents -> ids, mask and types of one length, and the windows with which mixup mixes them."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from baton.arrays.text_arrays import WIDTH_MULTIPLE, TextArrays


class Filled(NamedTuple):
    """Windows of one length, (windows, length) int64 each."""

    ids: torch.Tensor
    mask: torch.Tensor  # 1 for tokens
    types: torch.Tensor | None  # of tokens of pairs; None: all are 0


def width(arrays: TextArrays, places: NDArray[np.int64]) -> int:
    """Return the length of the longest of the windows at `places`, up to a multiple of `WIDTH_MULTIPLE`."""
    longest = int((arrays.offsets[places + 1] - arrays.offsets[places]).max())
    return -(-longest // WIDTH_MULTIPLE) * WIDTH_MULTIPLE


def filled(arrays: TextArrays, places: NDArray[np.int64], pad: int, least: int = 0) -> Filled:
    """Return the windows at `places` (windows,), padded to the longest of them, but at least to `least`."""
    starts, ends = arrays.offsets[places], arrays.offsets[places + 1]
    length = max(least, width(arrays, places))
    ids = np.full((len(places), length), pad, dtype=np.int64)
    types = None if arrays.types is None else np.zeros_like(ids)
    for index, (start, end) in enumerate(zip(starts, ends, strict=True)):
        ids[index, : end - start] = arrays.tokens[start:end]
        if types is not None and arrays.types is not None:
            types[index, : end - start] = arrays.types[start:end]
    mask = (np.arange(length) < (ends - starts)[:, None]).astype(np.int64)
    made = torch.from_numpy(ids), torch.from_numpy(mask)
    return Filled(*made, None if types is None else torch.from_numpy(types))


def opposite(
    counts: NDArray[np.int64], rows: NDArray[np.int64], partners: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the window with which each window of the documents at `rows` is mixed, (windows,).

    It is that of the partner in the same place, counted from its first again where it has fewer.

    Args:
        counts: the number of windows of each document, (documents,).
        rows: some documents.
        partners: theirs.
    """
    firsts = np.cumsum(counts) - counts
    return np.concatenate(
        [
            firsts[other] + np.arange(counts[row]) % counts[other]
            for row, other in zip(rows, partners, strict=True)
        ]
    )
