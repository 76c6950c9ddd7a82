"""The loss of prototypical networks, against its definition written out."""

import numpy as np
import pytest
import torch
from torch import nn

from baton.losses import episode_losses

WAY, SHOTS, QUERIES, WIDTH = 3, 2, 4, 5


def written_out(features: np.ndarray) -> float:
    """Equations 1 and 2 of Snell et al., row by row."""
    rows = SHOTS + QUERIES
    means = [features[rows * k : rows * k + SHOTS].mean(axis=0) for k in range(WAY)]
    losses = []
    for k in range(WAY):
        for query in features[rows * k + SHOTS : rows * (k + 1)]:
            near = np.array([np.exp(-(np.linalg.norm(query - mean) ** 2)) for mean in means])
            losses.append(-np.log(near[k] / near.sum()))
    return float(np.mean(losses))


def test_it_is_the_cross_entropy_over_negative_squared_distances() -> None:
    features = np.random.default_rng(0).normal(size=(WAY * (SHOTS + QUERIES), WIDTH))
    got = episode_losses.of_features(torch.tensor(features, dtype=torch.float32), WAY, SHOTS)
    assert float(got) == pytest.approx(written_out(features), rel=1e-5)
    shuffled = features[np.random.default_rng(1).permutation(len(features))]  # the control
    assert abs(written_out(shuffled) - float(got)) > 1e-2


def test_it_is_computed_in_fp32_where_the_model_computes_in_bf16() -> None:
    features = torch.randn(WAY * (SHOTS + QUERIES), WIDTH) + 100.0  # distances are small beside the features
    exact = episode_losses.of_features(features.double().float(), WAY, SHOTS)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = episode_losses.of_features(features, WAY, SHOTS)
    assert mixed.dtype == torch.float32 and torch.equal(mixed, exact)
    coarse = torch.cdist(features.bfloat16().float(), features.bfloat16().float())  # the control
    assert (coarse - torch.cdist(features, features)).abs().max() > 1e-2


def test_support_and_queries_get_gradients() -> None:
    features = torch.randn(WAY * (SHOTS + QUERIES), WIDTH, requires_grad=True)
    episode_losses.of_features(features, WAY, SHOTS).backward()
    assert features.grad is not None and (features.grad.abs().sum(1) > 0).all()


def test_the_rows_that_fill_a_batch_up_do_not_count() -> None:
    class Batch:
        inputs = (torch.randn(WAY * (SHOTS + QUERIES) + 2, WIDTH),)
        units = torch.arange(WAY * (SHOTS + QUERIES))

    loss = episode_losses.prototypical(WAY, SHOTS)(nn.Identity(), Batch())  # type: ignore[arg-type]
    assert torch.equal(loss, episode_losses.of_features(Batch.inputs[0][:-2], WAY, SHOTS))
