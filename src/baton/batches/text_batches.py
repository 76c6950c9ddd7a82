"""Batches of documents, padded or packed, each with one or several windows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from baton.arrays.text_arrays import WIDTH_MULTIPLE, TextArrays
from baton.batches import text_padding
from baton.batches.augmentation import mixing, random_streams
from baton.batches.augmentation.text_variation import TextVariation
from baton.batches.text_batch import PackedBatch, TextBatch, UnitPlaces
from baton.contracts.packed_documents import Packing
from baton.contracts.ragged import Units
from baton.contracts.targets import Targets


@dataclass(frozen=True)
class TextSplit:
    """The documents of one split; `pad` is the padding token's id, and with `packs` batches are packed."""

    arrays: TextArrays
    pad: int
    packs: bool = False
    variation: TextVariation | None = None  # of training batches
    ids: Callable[[], Sequence[str]] = tuple  # of the rows; read once, and only if they are varied

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

    def _padded(self, rows: NDArray[np.int64], width: int = 0) -> TextBatch:
        """Pad windows to the longest, but at least to `width`."""
        places, owners = self._windows(rows)
        filled = text_padding.filled(self.arrays, places, self.pad, width)
        return TextBatch(
            filled.ids,
            filled.mask,
            self._targets(rows),
            torch.from_numpy(rows.astype(np.int64)),
            torch.from_numpy(owners[0]) if owners else None,
            filled.types,
            self._read(rows, places, filled.ids.shape[1] * np.arange(len(places))),
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
        self, rows: NDArray[np.int64], step_rows: NDArray[np.int64], seed: int, epoch: int
    ) -> TextBatch | PackedBatch:
        """Return the documents at `rows` (batch,) as training sees them in `epoch`.

        With mixup, a document is mixed with the next one in `step_rows`, the last with the first; a partner
        outside `rows` is varied as in its own batch.
        """
        if self.variation is None:
            return self.batch(rows)
        own, numbers = np.arange(len(rows)), torch.from_numpy(rows.astype(np.int64))
        if not self.variation.mixes:
            varied = self.variation.documents(self.arrays, rows, self._keys[rows], seed, epoch)
            return replace(replace(self, arrays=varied).batch(own), rows=numbers)
        whole, partners = mixing.with_partners(rows, step_rows)
        varied = self.variation.documents(self.arrays, whole, self._keys[whole], seed, epoch)
        shares = self.variation.shares(self._keys[rows], seed, epoch)
        return replace(replace(self, arrays=varied)._mixed(own, partners, shares), rows=numbers)

    def _mixed(
        self, rows: NDArray[np.int64], partners: NDArray[np.int64], shares: NDArray[np.float32]
    ) -> TextBatch:
        """Return the documents at `rows` (batch,), mixed with those at `partners` (batch,).

        Where only one of two windows has a token, it is mixed with nothing, as with the zeros that follow a
        sentence in wordMixup (Guo et al. 2019, section 3). A token's type is that of the document's own, if
        it has one there.

        Args:
            rows: documents of this split.
            partners: likewise.
            shares: of the documents at `rows`, (batch,).
        """
        assert not self.packs, "packing is refused with mixup"
        others = text_padding.opposite(self.windows, rows, partners)
        own = self._padded(rows, text_padding.width(self.arrays, others))
        filled = text_padding.filled(self.arrays, others, self.pad, own.shape[1])
        own_shares = torch.from_numpy(np.repeat(shares, self.windows[rows]))[:, None]  # (windows, 1)
        types = own.types
        if types is not None and filled.types is not None:
            types = torch.where(own.attention_mask.bool(), types, filled.types)
        return replace(
            own,
            attention_mask=own.attention_mask | filled.mask,
            targets=mixing.mixed_targets(
                own.targets, self._targets(partners), torch.from_numpy(shares), self.targets.spec.width
            ),
            types=types,
            partners=filled.ids,
            shares=torch.stack([own_shares * own.attention_mask, (1 - own_shares) * filled.mask], dim=-1),
        )

    @cached_property
    def _keys(self) -> NDArray[np.uint64]:
        return random_streams.keys(self.ids())
