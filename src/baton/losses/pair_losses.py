"""A loss on all pairs of a batch: samples of one class shall have similar features, others not."""

import torch
from torch.nn import functional

from baton.contracts.batch import Batch
from baton.losses.loss import Model, own


def cosine(model: Model, batch: Batch) -> torch.Tensor:
    """Return `of_features` for a model that returns features, (batch, width)."""
    return of_features(own(model(*batch.inputs), batch), batch.targets)


def of_features(features: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the mean squared distance of pairs' cosine similarity from 1 (same class) or 0 (not), ().

    It is SetFit's loss (Tunstall et al. 2022, arXiv:2209.11055, section 3), computed over all pairs of a
    batch instead of sampled ones. Pairs of the same class and other pairs have equal weight.

    Args:
        features: (batch, width).
        labels: classes, (batch,).
    """
    directions = functional.normalize(features.float(), dim=-1)
    first, second = torch.triu_indices(len(labels), len(labels), offset=1, device=labels.device)
    same = labels[first] == labels[second]  # (pairs,)
    similarity = (directions @ directions.T)[first, second]
    loss = (similarity - same.float()).square()
    parts = [loss[which].sum() / which.sum().clamp_min(1) for which in (same, ~same)]
    return (parts[0] + parts[1]) / 2
