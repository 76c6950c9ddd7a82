"""Mixup (Zhang et al. 2018) and CutMix (Yun et al. 2019) of samples with partners.

Input: numbers of each sample from `pipeline.draw`, and pixels and labels of samples and partners. Output:
mixed pixels and shares of classes. Each sample has its own share or rectangle and a given partner, so no
result depends on the other samples of a batch. Texts take from here their partners and targets.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from baton import params

DRAWS = 4  # per sample: which of the two, the share, and the position (two)


@dataclass(frozen=True)
class Mixing:
    """The share that each sample takes from its partner."""

    shares: torch.Tensor | None  # (samples,) float32: share of its own pixels (mixup); None: mixup is off
    boxes: torch.Tensor  # (samples, 4) int64: top, left, bottom and right of its partner's part (CutMix)
    labels: torch.Tensor  # (samples,) float32: share of its own label

    def pixels(self, own: torch.Tensor, partners: torch.Tensor) -> torch.Tensor:
        """Mix (samples, channels, height, width); the dtype is kept, except that mixup returns float32."""
        if self.shares is not None:
            shares = self.shares.reshape(-1, 1, 1, 1)
            own, partners = own * shares + partners * (1 - shares), partners.float()
        top, left, bottom, right = self.boxes.reshape(-1, 4, 1, 1, 1).unbind(1)  # each (samples, 1, 1, 1)
        y = torch.arange(own.shape[2], device=own.device)[:, None]
        x = torch.arange(own.shape[3], device=own.device)
        return torch.where((top <= y) & (y < bottom) & (left <= x) & (x < right), partners, own)

    def targets(self, own: torch.Tensor, partners: torch.Tensor, width: int) -> torch.Tensor:
        """See `mixed_targets`."""
        return mixed_targets(own, partners, self.labels, width)


def mixed_targets(
    own: torch.Tensor, partners: torch.Tensor, shares: torch.Tensor, width: int
) -> torch.Tensor:
    """Mix classes (samples,) or floats (samples, width) into floats, (samples, width).

    `shares` (samples,) are those of the samples' own targets.
    """
    first, second = (
        part if part.is_floating_point() else torch.nn.functional.one_hot(part, width).float()
        for part in (own, partners)
    )
    return first * shares[:, None] + second * (1 - shares[:, None])


def drawn_shares(alpha: NDArray[np.float64] | float, drawn: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return draws from Beta(alpha, alpha), by its inverse, of numbers from 0 to 1, (samples,)."""
    from scipy.special import betaincinv

    return np.asarray(betaincinv(alpha, alpha, drawn), dtype=np.float64)


def with_partners(
    rows: NDArray[np.int64], step_rows: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows followed by those of partners outside, and the index there of each partner, (rows,).

    The partner of a row is the next one in `step_rows`, of the last one the first.
    """
    following = dict(zip(step_rows.tolist(), np.roll(step_rows, -1).tolist(), strict=True))
    places = {row: place for place, row in enumerate(rows.tolist())}
    partners = [places.setdefault(following[row], len(places)) for row in rows.tolist()]
    return np.fromiter(places, np.int64, len(places)), np.array(partners, dtype=np.int64)


def mixing(settings: params.Augmentation, drawn: NDArray[np.float64], size: tuple[int, int]) -> Mixing:
    """Draw each sample's share and rectangle.

    Args:
        settings: at least one of `mixup` and `cutmix` is on; if both are, a fair coin decides.
        drawn: (samples, `DRAWS`).
        size: height and width of the pixels to mix.
    """
    coin, share, down, right = drawn.T
    cut = coin < 0.5 if settings.mixup and settings.cutmix else np.full(len(drawn), settings.cutmix > 0)
    alpha = np.where(cut, settings.cutmix, settings.mixup)
    kept = drawn_shares(alpha, share)
    boxes = np.where(cut[:, None], _boxes(kept, (down, right), size), 0)
    covered = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) / (size[0] * size[1])
    labels = np.where(cut, 1 - covered, kept)
    shares = torch.from_numpy(np.where(cut, 1, kept).astype(np.float32)) if settings.mixup else None
    return Mixing(shares, torch.from_numpy(boxes), torch.from_numpy(labels.astype(np.float32)))


def _boxes(
    kept: NDArray[np.float64], places: tuple[NDArray[np.float64], ...], size: tuple[int, int]
) -> NDArray[np.int64]:
    """Return rectangles, (samples, 4), that cover 1 - `kept` of the area.

    They have the image's aspect ratio and a random centre, and are clipped at the edges.
    """
    edges = []
    for place, length in zip(places, size, strict=True):
        half = (np.sqrt(1 - kept) * length).astype(np.int64) // 2
        middle = (place * length).astype(np.int64)
        edges.append((np.clip(middle - half, 0, length), np.clip(middle + half, 0, length)))
    return np.stack([edges[0][0], edges[1][0], edges[0][1], edges[1][1]], axis=1)
