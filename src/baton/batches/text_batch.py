"""A batch of documents, padded or packed: a `contracts.batch.Batch`, made by `text_batches`."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from baton.batches.movable import Change, Movable
from baton.contracts.packed_documents import Packing


class UnitPlaces(NamedTuple):
    """The units of a batch's documents that are read."""

    units: torch.Tensor  # (units,) int64, positions among the split's units
    places: torch.Tensor  # (units,) int64, positions in the flattened `input_ids`
    bounds: torch.Tensor  # (batch + 1,) int64, the first of these units of each document, and the end

    def made_of(self, change: Change) -> "UnitPlaces":
        """Return a copy with `change` applied to all."""
        return UnitPlaces(*map(change, self))


@dataclass(frozen=True)
class TextBatch(Movable):
    """Padded documents, each with one or several windows. `rows` are their positions in the split."""

    input_ids: torch.Tensor  # (windows, length) int64
    attention_mask: torch.Tensor  # (windows, length) int64, 1 for tokens
    targets: torch.Tensor  # see `Batch`
    rows: torch.Tensor  # (batch,) int64
    # (batch, windows) bool, which document owns each window; None: every document has one window.
    owners: torch.Tensor | None = None
    types: torch.Tensor | None = None  # (windows, length) int64, of tokens of pairs; None: all are 0
    read: UnitPlaces | None = None  # None: the model has an output for each document
    # With mixup: the tokens with which those of `input_ids` are mixed, (windows, length) int64, and the share
    # of either in each place, (windows, length, 2) float32, 0 where a text has none. `attention_mask` is 1
    # where either has a token.
    partners: torch.Tensor | None = None
    shares: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def units(self) -> torch.Tensor:
        """See `Batch`."""
        return self.rows if self.read is None else self.read.units

    @property
    def bounds(self) -> torch.Tensor | None:
        """See `Batch`."""
        return None if self.read is None else self.read.bounds

    @property
    def inputs(self) -> tuple[torch.Tensor | None, ...]:
        """Token ids, mask and, if there are any, owners of windows, types of tokens, and places of units.

        With mixup, the partners' tokens and the shares come last.
        """
        read = self.input_ids, self.attention_mask
        if self.partners is not None:
            return *read, self.owners, None, self.types, None, self.partners, self.shares
        if self.read is not None:
            return *read, self.owners, None, self.types, self.read.places
        if self.types is not None:
            return *read, self.owners, None, self.types
        return read if self.owners is None else (*read, self.owners)

    @property
    def shape(self) -> tuple[int, int]:
        """The shape (windows, length)."""
        return self.input_ids.shape[0], self.input_ids.shape[1]


@dataclass(frozen=True)
class PackedBatch(Movable):
    """Documents concatenated in one row of tokens, without padding. `rows` are their positions in the split.

    The row is filled up to a multiple of `WIDTH_MULTIPLE` by an extra window after all documents.
    """

    input_ids: torch.Tensor  # (1, tokens) int64
    packing: Packing  # its `longest` is a multiple of `WIDTH_MULTIPLE`
    targets: torch.Tensor  # see `Batch`
    rows: torch.Tensor  # (batch,) int64
    types: torch.Tensor | None = None  # (1, tokens) int64, of pairs; None: all are 0
    read: UnitPlaces | None = None  # None: the model has an output for each document

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def units(self) -> torch.Tensor:
        """See `Batch`."""
        return self.rows if self.read is None else self.read.units

    @property
    def bounds(self) -> torch.Tensor | None:
        """See `Batch`."""
        return None if self.read is None else self.read.bounds

    @property
    def inputs(self) -> tuple[Any, ...]:
        """Token ids, no mask, no owners, the documents' positions and, if there are any, types and places."""
        read = self.input_ids, None, None, self.packing
        if self.read is not None:
            return *read, self.types, self.read.places
        return read if self.types is None else (*read, self.types)

    @property
    def shape(self) -> tuple[int, int]:
        """The shape (1, tokens)."""
        return 1, self.input_ids.shape[1]
