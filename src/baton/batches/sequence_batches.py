"""Batches of sources and target texts for an encoder-decoder, padded."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from baton.arrays.text_arrays import WIDTH_MULTIPLE, TextArrays
from baton.batches.movable import Movable
from baton.contracts.targets import Targets
from baton.contracts.task_spec import Sequence


@dataclass(frozen=True)
class SequenceBatch(Movable):
    """Padded sources and targets. `rows` are their positions in the split."""

    input_ids: torch.Tensor  # (batch, length) int64
    attention_mask: torch.Tensor  # (batch, length) int64, 1 for tokens
    decoder_ids: torch.Tensor  # (batch, target length) int64: the start token, then the target but its last
    places: torch.Tensor  # (tokens,) int64: where the logits of each target token are, in (batch * length)
    targets: torch.Tensor  # (tokens,) int64: the tokens of all targets
    units: torch.Tensor  # (tokens,) int64: the row of each
    rows: torch.Tensor  # (batch,) int64

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def bounds(self) -> None:
        """See `Batch`."""
        return

    @property
    def inputs(self) -> tuple[torch.Tensor, ...]:
        """Token ids and mask; the decoder's input and the places, which generation does not read."""
        return self.input_ids, self.attention_mask, self.decoder_ids, self.places

    @property
    def shape(self) -> tuple[int, int]:
        """The shape (batch, length + target length)."""
        return len(self.rows), self.input_ids.shape[1] + self.decoder_ids.shape[1]


@dataclass(frozen=True)
class SequenceSplit:
    """The sources and targets of one split; `pad` is the padding token's id.

    `taught` replaces the targets in the arrays by those that a teacher wrote. The lengths remain those of the
    references, so that the student's batches have the rows of its control's, in the same order and number.
    """

    arrays: TextArrays
    pad: int
    taught: Targets | None = None

    def __len__(self) -> int:
        return len(self.arrays)

    @property
    def units(self) -> None:
        """See `Split`: a model writes one text per row."""
        return

    @property
    def targets(self) -> Targets:
        """The targets of the rows."""
        return self.arrays.targets if self.taught is None else self.taught

    def with_targets(self, targets: Targets) -> "SequenceSplit":
        """Return the same sources with other targets."""
        return replace(self, taught=targets)

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """The number of tokens of each row's source and reference together, (rows,)."""
        return self.arrays.lengths + self.arrays.targets.counts

    @cached_property
    def windows(self) -> NDArray[np.int64]:
        """One for each row: a source is read at once."""
        return np.ones(len(self), np.int64)

    def packed(self) -> "SequenceSplit":
        """Return the split itself: an encoder-decoder reads padded texts."""
        return self

    def batch(self, rows: NDArray[np.int64]) -> SequenceBatch:
        """Return the rows (batch,), in that order, padded to multiples of `WIDTH_MULTIPLE`."""
        arrays = self.arrays
        starts, ends = arrays.offsets[rows], arrays.offsets[rows + 1]
        ids = np.full((len(rows), _width(int((ends - starts).max()))), self.pad, np.int64)
        for place, (start, end) in enumerate(zip(starts, ends, strict=True)):
            ids[place, : end - start] = arrays.tokens[start:end]
        mask = (np.arange(ids.shape[1]) < (ends - starts)[:, None]).astype(np.int64)  # (batch, length)
        own, spec = self.targets.part(rows), self.targets.spec
        assert isinstance(spec, Sequence), "other tasks have other batches"
        assert own.offsets is not None, "arrays hold tokens"
        counts = np.diff(own.offsets)
        there = np.arange(_width(int(counts.max()))) < counts[:, None]  # (batch, target length)
        read = np.full(there.shape, self.pad, np.int64)
        read[there] = own.values
        parts = [ids, mask, shifted(read, spec.start), np.flatnonzero(there), own.values]
        parts += [np.repeat(rows, counts), rows.astype(np.int64)]
        return SequenceBatch(*(torch.from_numpy(part) for part in parts))

    def training_batch(
        self,
        rows: NDArray[np.int64],
        step_rows: NDArray[np.int64],  # noqa: ARG002
        seed: int,  # noqa: ARG002
        epoch: int,  # noqa: ARG002
    ) -> SequenceBatch:
        """Return the rows; text has no augmentation."""
        return self.batch(rows)


def shifted(targets: NDArray[np.int64], start: int) -> NDArray[np.int64]:
    """Return what a decoder reads to predict `targets` (batch, length): `start`, then all but the last.

    Teacher forcing (Williams & Zipser 1989): each token is predicted from the true ones before it.
    """
    read = np.empty_like(targets)
    read[:, 0], read[:, 1:] = start, targets[:, :-1]
    return read


def _width(length: int) -> int:
    return -(-length // WIDTH_MULTIPLE) * WIDTH_MULTIPLE
