"""The loss of an episode: queries shall be nearest to the mean of their class's support."""

import torch
from torch.nn import functional

from baton.contracts.batch import Batch
from baton.losses.loss import Loss, Model, own


def prototypical(way: int, shots: int) -> Loss:
    """Return `of_features` for a model that returns features, and batches of one episode each."""

    def loss(model: Model, batch: Batch) -> torch.Tensor:
        return of_features(own(model(*batch.inputs), batch), way, shots)

    return loss


def of_features(features: torch.Tensor, way: int, shots: int) -> torch.Tensor:
    """Return the mean cross-entropy of the queries over negative squared distances to class means, ().

    Prototypical networks (Snell et al. 2017, arXiv:1703.05175, equations 1 and 2, with the squared Euclidean
    distance of its section 2.4). Features are not normalised; distances are computed in fp32.

    Args:
        features: of the first class's support and queries, then the next one's, (way * rows, width).
        way: the number of classes.
        shots: rows of the support of each class; the others are queries.
    """
    classes = features.float().reshape(way, -1, features.shape[-1])  # (way, rows, width)
    prototypes = classes[:, :shots].mean(1)  # (way, width)
    queries = classes[:, shots:]  # (way, queries, width)
    distances = (queries.flatten(0, 1)[:, None] - prototypes).square().sum(-1)  # (way * queries, way)
    labels = torch.arange(way, device=features.device).repeat_interleave(queries.shape[1])
    return functional.cross_entropy(-distances, labels)
