"""Samples as plain matrices, for scikit-learn models.

Input: a split of images -> their pixels, (samples, values); of spectrograms -> statistics of their bands.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from baton.batches.clip_batches import per_sample
from baton.batches.sampler import Split

WHITE = 255


def bands(split: Split, batch_size: int) -> NDArray[np.float32]:
    """Return mean and deviation over time of each band of spectrograms, (samples, 2 * bands).

    Those of several parts of a clip are averaged. Values are from 0 to 1; rows are in the split's order.
    """
    parts = []
    for rows in np.split(np.arange(len(split)), range(batch_size, len(split), batch_size)):
        batch = split.batch(rows)
        whole = batch.inputs[0][:, 0].double() / WHITE  # (rows or parts, bands, frames)
        both = [whole.mean(dim=2), whole.std(dim=2, correction=0)]
        parts.append(per_sample(batch, torch.cat(both, dim=1)).float().numpy())
    return np.concatenate(parts)


def pixels(split: Split, side: int, batch_size: int) -> NDArray[np.float32]:
    """Return pixels from 0 to 1, (samples, height * width * channels), in the split's order.

    Args:
        split: of images, as the model reads them.
        side: a longer side is reduced to this length by averaging; the aspect ratio is kept.
        batch_size: images per batch.
    """
    parts = []
    for rows in np.split(np.arange(len(split)), range(batch_size, len(split), batch_size)):
        batch = split.batch(rows)
        whole = batch.inputs[0].float()  # (rows or parts, channels, height, width)
        factor = max(1.0, max(whole.shape[-2:]) / side)
        height, width = (max(1, round(length / factor)) for length in whole.shape[-2:])
        reduced = functional.adaptive_avg_pool2d(whole, (height, width)).flatten(1)
        parts.append(per_sample(batch, reduced).numpy() / WHITE)
    return np.concatenate(parts)
