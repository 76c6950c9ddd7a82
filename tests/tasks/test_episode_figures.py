"""Accuracy and loss of episodes, against scikit-learn's nearest centroid and the training loss."""

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid

from baton.losses import episode_losses
from baton.tasks import episode_figures

RANDOM = np.random.default_rng(0)
FEATURES = (RANDOM.normal(size=(90, 8)) + 1.5 * np.eye(8)[np.repeat(np.arange(3), 30)]).astype(np.float32)
EPISODES = [
    np.stack(
        [RANDOM.choice(np.arange(30 * k, 30 * k + 30), 12, replace=False) for k in RANDOM.permutation(3)]
    )
    for _ in range(40)
]  # (3, 12)


@pytest.mark.parametrize("shots", [1, 5])
def test_queries_have_the_class_of_the_nearest_mean(shots: int) -> None:
    found = episode_figures.scores(FEATURES, EPISODES, shots)
    for episode, accuracy, loss in zip(EPISODES, *found, strict=True):
        own = FEATURES[episode]
        labels = np.arange(3)
        known = NearestCentroid() if shots > 1 else KNeighborsClassifier(1)
        nearest = known.fit(own[:, :shots].reshape(-1, 8), np.repeat(labels, shots))
        queries = own[:, shots:].reshape(-1, 8)
        assert accuracy == pytest.approx(nearest.score(queries, np.repeat(labels, 12 - shots)))
        trained = episode_losses.of_features(torch.from_numpy(own.reshape(-1, 8)), 3, shots)
        assert loss == pytest.approx(float(trained), rel=1e-5)
    assert 0.4 < found.accuracies.mean() < 0.9


def test_more_shots_are_better_and_chance_is_chance() -> None:
    one, five = (episode_figures.scores(FEATURES, EPISODES, shots).accuracies for shots in (1, 5))
    assert five.mean() > one.mean() + episode_figures.half_width(five - one)
    noise = RANDOM.normal(size=FEATURES.shape).astype(np.float32)
    chance = episode_figures.scores(noise, EPISODES, 5).accuracies
    assert abs(chance.mean() - 1 / 3) < 2 * episode_figures.half_width(chance)


def test_the_interval_is_students() -> None:
    values = episode_figures.scores(FEATURES, EPISODES, 1).accuracies
    low, high = stats.t.interval(0.95, len(values) - 1, values.mean(), stats.sem(values))
    assert episode_figures.half_width(values) == pytest.approx((high - low) / 2)
