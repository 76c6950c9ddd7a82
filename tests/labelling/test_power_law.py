"""The fitted law recovers a planted one, never rises, and is no worse than scipy's own fit."""

import numpy as np
import pytest
from scipy.optimize import curve_fit

from baton.labelling import power_law

SIZES = np.array([25.0, 50, 100, 200, 400, 800])
EQUAL = np.ones(len(SIZES))


@pytest.mark.parametrize("floor", [0.0, 0.03, 0.2])
@pytest.mark.parametrize("scale", [0.5, 2.0])
@pytest.mark.parametrize("exponent", [0.07, 0.35, 0.5, 1.0, 1.7])
def test_it_recovers_a_planted_law(floor: float, scale: float, exponent: float) -> None:
    law = power_law.fit(SIZES, floor + scale * SIZES**-exponent, EQUAL)
    assert law.exponent == pytest.approx(exponent, rel=0.01)
    assert law.floor == pytest.approx(floor, abs=0.02)
    for more in (1600, 3200):
        assert law.error(more) == pytest.approx(floor + scale * more**-exponent, abs=0.002)


def test_many_curves_at_once_are_each_alone() -> None:
    draw = np.random.default_rng(0)
    errors = 0.05 + SIZES**-0.5 + 0.02 * draw.normal(size=(3, 4, len(SIZES)))
    weights = draw.uniform(0.5, 2, len(SIZES))
    many = power_law.fit(SIZES, errors, weights)
    assert many.floor.shape == (3, 4)
    for place in np.ndindex(3, 4):
        alone = power_law.fit(SIZES, errors[place], weights)
        assert many.error(1000)[place] == pytest.approx(float(alone.error(1000)))


def test_it_is_no_worse_than_a_general_optimizer() -> None:
    draw = np.random.default_rng(1)
    for _ in range(20):
        errors = np.clip(0.05 + SIZES**-0.6 + 0.01 * draw.normal(size=len(SIZES)), 0, 1)
        law = power_law.fit(SIZES, errors, SIZES)
        own = (SIZES * (errors - [law.error(size) for size in SIZES]) ** 2).sum()
        other, _ = curve_fit(
            lambda n, a, b, c: a + b * n**-c,
            SIZES,
            errors,
            p0=(0.05, 1.0, 0.6),
            sigma=SIZES**-0.5,
            bounds=([0, 0, power_law.FLATTEST], [1, 100, power_law.STEEPEST]),
        )
        best = (SIZES * (errors - other[0] - other[1] * SIZES ** -other[2]) ** 2).sum()
        assert own <= best * 1.01 + 1e-9


def test_it_never_rises_and_has_no_negative_error() -> None:
    draw = np.random.default_rng(2)
    law = power_law.fit(SIZES, draw.uniform(0, 1, (200, len(SIZES))), EQUAL)
    errors = np.stack([law.error(size) for size in (10, 100, 1000, 1e6)])
    assert (np.diff(errors, axis=0) <= 1e-12).all() and (errors >= 0).all()


def test_a_rising_curve_is_a_constant() -> None:
    law = power_law.fit(SIZES, np.linspace(0.1, 0.3, len(SIZES)), EQUAL)
    assert law.scale == 0 and law.error(5) == pytest.approx(0.2)


def test_a_point_without_weight_does_not_count() -> None:
    errors = 0.1 + SIZES**-0.5
    weights = EQUAL.copy()
    errors[0], weights[0] = 0.9, 0.0
    assert power_law.fit(SIZES, errors, weights).error(1600) == pytest.approx(0.1 + 1600**-0.5, abs=0.002)
