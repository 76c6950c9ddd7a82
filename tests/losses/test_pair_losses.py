"""The loss of pairs, against SetFit's definition written out."""

import itertools

import numpy as np
import pytest
import torch

from baton.losses import pair_losses


def test_it_is_the_mean_squared_distance_of_cosines_balanced_over_both_kinds_of_pairs() -> None:
    features = np.random.default_rng(0).normal(size=(6, 4))
    labels = np.array([0, 0, 1, 1, 1, 2])
    parts: dict[bool, list[float]] = {True: [], False: []}
    for a, b in itertools.combinations(range(6), 2):
        cosine = features[a] @ features[b] / np.linalg.norm(features[a]) / np.linalg.norm(features[b])
        same = bool(labels[a] == labels[b])
        parts[same].append((cosine - same) ** 2)
    expected = (np.mean(parts[True]) + np.mean(parts[False])) / 2
    got = pair_losses.of_features(torch.tensor(features, dtype=torch.float32), torch.tensor(labels))
    assert float(got) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("labels", [[0, 0, 0], [0, 1, 2]])
def test_pairs_of_one_kind_alone_give_a_finite_loss(labels: list[int]) -> None:
    features = torch.randn(3, 4, requires_grad=True)
    pair_losses.of_features(features, torch.tensor(labels)).backward()
    assert features.grad is not None and torch.isfinite(features.grad).all()
