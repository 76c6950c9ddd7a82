"""Whether two samples come from one source, and how far apart they are beyond what chance alone gives.

Each sample is given as counts of values. Were both of one source, then of all rows together any part would be as likely to be the new
one: a draw without replacement, which a multivariate hypergeometric distribution describes. Distances of `DRAWS` such draws tell what
chance gives, and their rank among them is a p that is exact whatever the sizes are and however rare a value is (Fisher 1935, The Design
of Experiments; p as in Phipson and Smyth 2010, Permutation p-values should never be zero).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DRAWS = 1_999  # the smallest p is 0.0005
CUTS = 100  # places at which two distributions are compared
AT_ONCE = 2_000_000  # counts in memory: 16 MB
ROUNDING = 1e-9

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Distance:
    """How far two samples are apart."""

    value: float
    chance: float  # its mean, were both of one source
    p: float  # the probability of one as large, were both of one source

    @property
    def excess(self) -> float:
        """How much larger it is than chance makes it."""
        return self.value - self.chance


def labels(earlier: Mapping[str, int], new: Mapping[str, int]) -> Distance:
    """Total variation distance of the shares, 0 to 1, and the p of Pearson's chi-square statistic of homogeneity."""
    names = sorted(earlier.keys() | new.keys())
    counts = _table([earlier.get(name, 0) for name in names], [new.get(name, 0) for name in names])
    together, (ours, theirs) = counts.sum(axis=0), counts.sum(axis=1)
    expected = together * theirs / (ours + theirs)

    def distances(drawn: Counts) -> Floats:  # (draws, names) -> (draws, 2)
        variation = np.abs(drawn / theirs - (together - drawn) / ours).sum(axis=1) / 2
        chi_square = ((drawn - expected) ** 2 / together).sum(
            axis=1
        )  # Pearson's, but for a factor that margins fix
        return np.stack([variation, chi_square], axis=1)

    drawn, found = _drawn(counts, distances), distances(counts[1:])[0]
    return Distance(float(found[0]), float(drawn[:, 0].mean()), _rank(drawn[:, 1], found[1]))


def distributions(earlier: Mapping[float, int], new: Mapping[float, int]) -> Distance:
    """Largest difference of the distribution functions at `CUTS` quantiles of all values (Kolmogorov and Smirnov), 0 to 1."""
    values = sorted(earlier.keys() | new.keys())
    counts = _table([earlier.get(value, 0) for value in values], [new.get(value, 0) for value in values])
    below = np.cumsum(counts.sum(axis=0))
    parts = (
        (below - 1) * CUTS // below[-1]
    )  # of each value; they depend on all rows together, so a draw has the same
    edges = np.flatnonzero(np.diff(parts, prepend=-1))
    counts = np.add.reduceat(counts, edges, axis=1)
    together, (ours, theirs) = counts.sum(axis=0), counts.sum(axis=1)

    def distances(drawn: Counts) -> Floats:
        found: Floats = np.abs(
            np.cumsum(drawn, axis=1) / theirs - np.cumsum(together - drawn, axis=1) / ours
        ).max(axis=1)
        return found

    return _distance(_drawn(counts, distances), distances(counts[1:])[0])


def means(earlier: Mapping[float, int], new: Mapping[float, int]) -> Distance:
    """How far the mean of the new values lies above that of the earlier ones; 0 where it lies below."""
    values = sorted(earlier.keys() | new.keys())
    counts = _table([earlier.get(value, 0) for value in values], [new.get(value, 0) for value in values])
    together, (ours, theirs), at = counts.sum(axis=0), counts.sum(axis=1), np.array(values, np.float64)

    def distances(drawn: Counts) -> Floats:
        above: Floats = drawn @ at / theirs - (together - drawn) @ at / ours
        return np.maximum(above, 0.0)

    return _distance(_drawn(counts, distances), distances(counts[1:])[0])


def _table(earlier: list[int], new: list[int]) -> Counts:
    return np.array([earlier, new], np.int64)


def _drawn(counts: Counts, distances: Callable[[Counts], Floats]) -> Floats:
    """Distances of `DRAWS` draws of as many rows as the new sample has."""
    generator, together = np.random.default_rng(0), counts.sum(axis=0)
    block = max(1, AT_ONCE // counts.shape[1])
    sizes = [min(block, DRAWS - start) for start in range(0, DRAWS, block)]
    draws = (
        generator.multivariate_hypergeometric(together, int(counts[1].sum()), size=size) for size in sizes
    )
    return np.concatenate([distances(drawn) for drawn in draws])


def _distance(drawn: Floats, found: np.float64) -> Distance:
    return Distance(float(found), float(drawn.mean()), _rank(drawn, found))


def _rank(drawn: Floats, found: np.float64) -> float:
    return float((1 + (drawn >= found - ROUNDING).sum()) / (1 + len(drawn)))
