"""The layout of packed documents.

`batches.text_batches` writes it; encoders read it (`models.kernels.varlen`).
"""

from collections.abc import Callable
from typing import NamedTuple

import torch


class Packing(NamedTuple):
    """Documents of one or more windows each, concatenated in one row of tokens."""

    positions: torch.Tensor  # (tokens,) int64, position of each token in its window
    bounds: torch.Tensor  # (windows + 1,) int32, start of each window in the row, and the end of the row
    # (batch + 1,) int64, the first window of each document, and the end; padding belongs to no document
    documents: torch.Tensor
    longest: int  # at least the number of tokens of the longest window

    def made_of(self, change: Callable[[torch.Tensor], torch.Tensor]) -> "Packing":
        """Return a copy with `change` applied to all tensors."""
        return Packing(change(self.positions), change(self.bounds), change(self.documents), self.longest)
