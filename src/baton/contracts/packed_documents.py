"""Where packed documents lie: what `batches.text_batches` say of themselves, and encoders read (`models.kernels.varlen`)."""

from typing import NamedTuple

import torch


class Packing(NamedTuple):
    """Documents, each of one window or of several, one after the other in one row of tokens."""

    positions: torch.Tensor  # (tokens,) int64, place of each token in its window
    bounds: torch.Tensor  # (windows + 1,) int32, where windows begin in the row, and where it ends
    documents: (
        torch.Tensor
    )  # (batch + 1,) int64, the first window of each, and the end; what fills the row up is no document
    longest: int  # tokens of the longest window, or more
