"""The law by which errors fall with the number of labels: error(n) = a + b * n**-c.

Hestness et al. 2017, arXiv:1712.00409, equation 1, with a floor as in section 2 and in Rosenfeld et al. 2020,
arXiv:1909.12673. Inputs: numbers of labels and errors -> a, b and c, of one curve or of many at once.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

STEEPEST, FLATTEST = (
    2.0,
    0.05,
)  # the exponent c; Hestness et al. find 0.07 to 0.35, curves of few labels are steeper
COARSE, FINE = 60, 21  # exponents that are tried: of the whole range, then around the best


@dataclass(frozen=True)
class PowerLaw:
    """One law, or many whose values have the same shape (...)."""

    floor: Floats  # a, the error with any number of labels
    scale: Floats  # b
    exponent: Floats  # c

    def error(self, labels: float) -> Floats:
        """Return the error at a number of labels, (...)."""
        return np.asarray(self.floor + self.scale * float(labels) ** -self.exponent)


def fit(labels: Floats, errors: Floats, weights: Floats) -> PowerLaw:
    """Fit a law to each curve by weighted least squares, with a >= 0, b >= 0 and c in a fixed range.

    For a given exponent the law is linear in a and b, whose best values are known in closed form; so all
    exponents of a grid are tried, and then a finer grid around the best. There is no starting point, and no
    local minimum.

    Args:
        labels: (sizes,), positive.
        errors: (..., sizes), not negative.
        weights: (sizes,), inverse to the variances of the errors.
    """
    grid = np.geomspace(FLATTEST, STEEPEST, COARSE)
    best = _best(labels, errors, weights, np.broadcast_to(grid, (*errors.shape[:-1], COARSE)))
    step = grid[1] / grid[0]
    around = best.exponent[..., None] * np.geomspace(1 / step, step, FINE)
    return _best(labels, errors, weights, np.clip(around, FLATTEST, STEEPEST))


def _best(labels: Floats, errors: Floats, weights: Floats, exponents: Floats) -> PowerLaw:
    """Return the law of the exponent with the least squares among `exponents` (..., tried)."""
    basis = labels ** -exponents[..., None]  # (..., tried, sizes)
    own, share = errors[..., None, :], weights / weights.sum()
    mean_basis, mean_error = (basis * share).sum(-1), (own * share).sum(-1)
    spread = basis - mean_basis[..., None]
    scale = (spread * own * share).sum(-1) / np.maximum((spread**2 * share).sum(-1), np.finfo(float).tiny)
    floor = mean_error - scale * mean_basis
    # A negative floor: the best law without one. A curve that does not fall: a constant.
    without = (basis * own * share).sum(-1) / (basis**2 * share).sum(-1)
    scale, floor = np.where(floor < 0, without, scale), np.maximum(floor, 0)
    scale, floor = np.maximum(scale, 0), np.where(scale < 0, mean_error, floor)
    squares = ((own - floor[..., None] - scale[..., None] * basis) ** 2 * share).sum(-1)
    place = squares.argmin(-1)[..., None]
    return PowerLaw(*(np.take_along_axis(values, place, -1)[..., 0] for values in (floor, scale, exponents)))
