"""Batches of documents, padded or packed, each with one or several windows."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from baton.arrays.text_arrays import WIDTH_MULTIPLE, TextArrays
from baton.batches.movable import Change, Movable
from baton.contracts.packed_documents import Packing
from baton.contracts.ragged import Units
from baton.contracts.targets import Targets


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
        """Token ids, mask and, if there are any, owners of windows, types of tokens, and places of units."""
        read = self.input_ids, self.attention_mask
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


@dataclass(frozen=True)
class TextSplit:
    """The documents of one split; `pad` is the padding token's id, and with `packs` batches are packed."""

    arrays: TextArrays
    pad: int
    packs: bool = False

    def __len__(self) -> int:
        return len(self.arrays)

    @property
    def targets(self) -> Targets:
        """The targets of the documents."""
        return self.arrays.targets

    @property
    def units(self) -> Units | None:
        """See `Split`."""
        return self.arrays.units

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """The number of tokens of each document, (documents,)."""
        return self.arrays.lengths

    @cached_property
    def windows(self) -> NDArray[np.int64]:
        """The number of windows of each document, (documents,)."""
        return self.arrays.windows

    def packed(self) -> "TextSplit":
        """Return the same documents in packed batches."""
        return replace(self, packs=True)

    def batch(self, rows: NDArray[np.int64]) -> TextBatch | PackedBatch:
        """Return the documents at `rows` (batch,), in that order."""
        return self._packed(rows) if self.packs else self._padded(rows)

    def _packed(self, rows: NDArray[np.int64]) -> PackedBatch:
        arrays = self.arrays
        places, _ = self._windows(rows)
        lengths = arrays.offsets[places + 1] - arrays.offsets[places]
        documents = np.concatenate([[0], np.cumsum(self.windows[rows])])
        longest, rest = (
            -(-int(lengths.max()) // WIDTH_MULTIPLE) * WIDTH_MULTIPLE,
            -int(lengths.sum()) % WIDTH_MULTIPLE,
        )
        lengths = np.append(lengths, rest) if rest else lengths
        bounds = np.concatenate([[0], np.cumsum(lengths)])
        ids = np.full(bounds[-1], self.pad, dtype=np.int64)
        types = None if arrays.types is None else np.zeros(bounds[-1], np.int64)
        for place, start in zip(places, bounds, strict=False):
            own = slice(arrays.offsets[place], arrays.offsets[place + 1])
            tokens = arrays.tokens[own]
            ids[start : start + len(tokens)] = tokens
            if types is not None and arrays.types is not None:
                types[start : start + len(tokens)] = arrays.types[own]
        positions = np.arange(bounds[-1]) - np.repeat(bounds[:-1], lengths)
        made = [torch.from_numpy(part) for part in (positions, bounds.astype(np.int32), documents)]
        packing, targets = Packing(made[0], made[1], made[2], longest), self._targets(rows)
        return PackedBatch(
            torch.from_numpy(ids[None]),
            packing,
            targets,
            torch.from_numpy(rows.astype(np.int64)),
            None if types is None else torch.from_numpy(types[None]),
            self._read(rows, places, bounds[: len(places)]),
        )

    def _padded(self, rows: NDArray[np.int64]) -> TextBatch:
        """Pad windows to the longest, rounded up to a multiple of `WIDTH_MULTIPLE`."""
        arrays = self.arrays
        places, owners = self._windows(rows)
        starts, ends = arrays.offsets[places], arrays.offsets[places + 1]
        lengths = ends - starts
        width = -(-int(lengths.max()) // WIDTH_MULTIPLE) * WIDTH_MULTIPLE
        ids = np.full((len(places), width), self.pad, dtype=np.int64)
        types = None if arrays.types is None else np.zeros_like(ids)
        for index, (start, end) in enumerate(zip(starts, ends, strict=True)):
            ids[index, : end - start] = arrays.tokens[start:end]
            if types is not None and arrays.types is not None:
                types[index, : end - start] = arrays.types[start:end]
        mask = (np.arange(width) < lengths[:, None]).astype(np.int64)  # (windows, length)
        return TextBatch(
            torch.from_numpy(ids),
            torch.from_numpy(mask),
            self._targets(rows),
            torch.from_numpy(rows.astype(np.int64)),
            torch.from_numpy(owners[0]) if owners else None,
            None if types is None else torch.from_numpy(types),
            self._read(rows, places, width * np.arange(len(places))),
        )

    def _targets(self, rows: NDArray[np.int64]) -> torch.Tensor:
        """Return the targets of a batch; of units, those that are read."""
        targets = self.targets
        if self.units is not None and targets.read is not None:
            return torch.from_numpy(targets.values[self.units.read(rows)])
        return torch.from_numpy(targets.take(rows))

    def _read(
        self, rows: NDArray[np.int64], windows: NDArray[np.int64], starts: NDArray[np.int64]
    ) -> UnitPlaces | None:
        """Return the units of `rows` that are read, if rows have units.

        `windows` are those of the batch, (windows,), and `starts` their first places in the flattened batch.
        """
        if self.units is None:
            return None
        units, bounds = self.units.read_of(rows)
        offsets = self.arrays.offsets
        places = self.units.places[units]
        own = np.searchsorted(offsets, places, side="right") - 1  # the window of each unit, in the split
        order = np.argsort(windows, kind="stable")
        index = order[np.searchsorted(windows, own, sorter=order)]  # in the batch
        found = starts[index] + places - offsets[own]
        return UnitPlaces(*(torch.from_numpy(part) for part in (units, found.astype(np.int64), bounds)))

    def _windows(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], list[NDArray[np.bool_]]]:
        """Return the indices of the documents' windows, (windows,), and their owners, (documents, windows).

        The list of owners is empty if each document has one window.
        """
        documents = self.arrays.documents
        if documents is None:
            return rows, []
        places = np.concatenate([np.arange(documents[row], documents[row + 1]) for row in rows])
        if len(places) == len(rows):
            return places, []
        owner = np.repeat(np.arange(len(rows)), self.windows[rows])  # (windows,)
        return places, [owner == np.arange(len(rows))[:, None]]

    def training_batch(
        self,
        rows: NDArray[np.int64],
        step_rows: NDArray[np.int64],  # noqa: ARG002
        seed: int,  # noqa: ARG002
        epoch: int,  # noqa: ARG002
    ) -> TextBatch | PackedBatch:
        """Return the documents at `rows`; text has no augmentation."""
        return self.batch(rows)
