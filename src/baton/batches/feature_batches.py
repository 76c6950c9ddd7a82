"""Batches of what a head reads, computed once by a frozen backbone.

Input: a split, and the features of its samples or of their units. Output: `FeatureSplit`, the same samples in
the same batches.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from baton.batches.movable import Movable
from baton.batches.sampler import Split
from baton.contracts.ragged import Units
from baton.contracts.targets import Targets


@dataclass(frozen=True)
class FeatureBatch(Movable):
    """Features of samples, or of those of their units that are read. `rows` are positions in the split."""

    features: torch.Tensor  # (outputs, width) float32
    targets: torch.Tensor  # see `Batch`
    rows: torch.Tensor  # (batch,) int64
    units: torch.Tensor  # (outputs,) int64, see `Batch`
    bounds: torch.Tensor | None = None  # see `Batch`

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def inputs(self) -> tuple[torch.Tensor]:
        """The features, (outputs, width)."""
        return (self.features,)

    @property
    def shape(self) -> tuple[int, int]:
        """The shape (outputs, width)."""
        return self.features.shape[0], self.features.shape[1]


@dataclass(frozen=True)
class FeatureSplit:
    """The samples of `whole` by their `features`, (samples, width) or (units, width) float32."""

    whole: Split
    features: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.whole)

    @property
    def targets(self) -> Targets:
        """The targets of the samples."""
        return self.whole.targets

    @property
    def units(self) -> Units | None:
        """See `Split`."""
        return self.whole.units

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Those of the samples themselves, so that the same ones share a batch, (samples,)."""
        return self.whole.lengths

    @cached_property
    def windows(self) -> NDArray[np.int64]:
        """One for each sample, (samples,)."""
        return np.ones(len(self), np.int64)

    def packed(self) -> "FeatureSplit":
        """Return the split itself: features have no padding."""
        return self

    def batch(self, rows: NDArray[np.int64]) -> FeatureBatch:
        """Return the features of the samples at `rows` (batch,), in that order."""
        positions = torch.from_numpy(rows.astype(np.int64))
        if self.units is None:
            targets = torch.from_numpy(self.targets.take(rows))
            return FeatureBatch(self._of(rows), targets, positions, positions)
        units, bounds = self.units.read_of(rows)
        own = self.targets.values[units] if self.targets.read is not None else self.targets.take(rows)
        return FeatureBatch(
            self._of(units),
            torch.from_numpy(own),
            positions,
            torch.from_numpy(units),
            torch.from_numpy(bounds),
        )

    def _of(self, places: NDArray[np.int64]) -> torch.Tensor:
        return torch.from_numpy(np.array(self.features[places]))

    def training_batch(
        self,
        rows: NDArray[np.int64],
        step_rows: NDArray[np.int64],  # noqa: ARG002
        seed: int,  # noqa: ARG002
        epoch: int,  # noqa: ARG002
    ) -> FeatureBatch:
        """Return the features of the samples at `rows`; they are those of samples without augmentation."""
        return self.batch(rows)
