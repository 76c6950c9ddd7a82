"""Gains cover what a planted law says; a law that fails on the user's own curve gives no number."""

import numpy as np
import pytest

from baton.errors import DataError
from baton.labelling import curve, growth, resampling
from tests.labelling.made_up import law, simulated

CONFIDENCE = 0.95


def grown(seed: int, **changes: float) -> growth.Growth:
    return growth.grow(simulated(seed, **changes), [250, 1000, 3000], CONFIDENCE, 0)  # type: ignore[arg-type]


def test_the_interval_covers_the_planted_gain() -> None:
    held = {250: 0, 1000: 0}
    for seed in range(60):
        for gain in grown(seed).gains[:2]:
            assert gain.fall is not None
            held[gain.more] += gain.fall.low <= law(1000) - law(1000 + gain.more) <= gain.fall.high
    assert all(count >= 51 for count in held.values()), held  # 57 expected; 51 has a probability of 1%


def test_without_the_noise_that_draws_share_it_covers_less(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: the curve's own spread says nothing of the noise at all labels."""
    own = np.mean([width(grown(seed)) for seed in range(5)])
    monkeypatch.setattr(resampling, "shared_variance", lambda curve: 0.0)
    assert np.mean([width(grown(seed)) for seed in range(5)]) < 0.95 * own


def width(found: growth.Growth) -> float:
    fall = found.gains[1].fall
    assert fall is not None
    return fall.high - fall.low


def test_more_labels_never_gain_less_and_far_is_too_far() -> None:
    found = growth.grow(simulated(0), [0, 10, 100, 1000, 3000, 3001], CONFIDENCE, 0)
    falls = [gain.fall for gain in found.gains]
    assert falls[-1] is None
    values = [fall.value for fall in falls if fall is not None]
    assert values == sorted(values) and values[0] == 0
    for fall in falls[:-1]:
        assert fall is not None and fall.low <= fall.value <= fall.high


def test_a_curve_that_falls_has_numbers() -> None:
    found = [grown(seed) for seed in range(20)]
    assert sum(own.verdict == "grows" for own in found) >= 15
    (tested, *_) = [own.back_test for own in found]
    assert tested.fitted_to == 500 and tested.predicted.value == pytest.approx(law(1000), abs=0.03)


def test_a_curve_that_ends_is_not_predicted() -> None:
    """The control of the back-test: the last point is far above the law of the others."""
    found = [grown(seed, noise=0.15, floor_of_last=0.05) for seed in range(10)]
    assert sum(not own.back_test.held for own in found) >= 9
    assert "grows" not in {own.verdict for own in found if not own.back_test.held}


def test_a_flat_curve_is_called_flat_and_a_noisy_one_noisy() -> None:
    flat = [grown(seed, scale=0.0, noise=0.02, rows=8000).verdict for seed in range(5)]
    noisy = [grown(seed, scale=0.3, noise=1.0, rows=60).verdict for seed in range(10)]
    assert flat.count("flat") >= 4
    assert noisy.count("noisy") >= 8


def test_few_labels_are_refused() -> None:
    with pytest.raises(DataError, match="too few labels"):
        growth.grow(simulated(0, labels=40), [10], CONFIDENCE, 0)


def test_the_same_curve_gives_the_same_numbers() -> None:
    assert (
        growth.grow(simulated(3), [100], CONFIDENCE, 0).gains
        == growth.grow(simulated(3), [100], CONFIDENCE, 0).gains
    )


def test_scores_of_test_rows_are_a_curve() -> None:
    draw = np.random.default_rng(0)
    scores = {(size, seed): draw.uniform(size=50) < 0.5 for size in (10, 20) for seed in (0, 1, 2)}
    found = curve.of_scores(scores, 30, 0)
    assert found.labels == (10, 20) and found.errors.shape == (2, 3) and found.resampled.shape == (30, 2, 3)
    assert found.errors[1, 2] == pytest.approx(1 - scores[20, 2].mean())
    assert found.resampled.mean() == pytest.approx(found.errors.mean(), abs=0.02)
