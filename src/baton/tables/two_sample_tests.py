"""Test whether two samples come from one source, and measure how far apart they are beyond chance.

Each sample is given as counts of values. If both came from one source, any subset of the pooled rows would be
equally likely to be the new sample: a draw without replacement, described by a multivariate hypergeometric
distribution. The distances of `DRAWS` such draws show what chance gives, and the rank of the observed
distance among them is a p-value that is exact for all sample sizes and however rare a value is (Fisher 1935,
The Design of Experiments; p as in Phipson and Smyth 2010, Permutation p-values should never be zero).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DRAWS = 1_999  # the smallest p is 0.0005
CUTS = 100  # points at which two distributions are compared
AT_ONCE = 2_000_000  # counts in memory: 16 MB
ROUNDING = 1e-9

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Distance:
    """The distance between two samples."""

    value: float
    chance: float  # its mean if both came from one source
    p: float  # the probability of a distance this large if both came from one source

    @property
    def excess(self) -> float:
        """The part of the distance that exceeds chance."""
        return self.value - self.chance


def labels(earlier: Mapping[str, int], new: Mapping[str, int]) -> Distance:
    """Return the total variation distance of the shares, 0 to 1, with the p of Pearson's chi-square test."""
    names = sorted(earlier.keys() | new.keys())
    counts = _table([earlier.get(name, 0) for name in names], [new.get(name, 0) for name in names])
    together, (ours, theirs) = counts.sum(axis=0), counts.sum(axis=1)
    expected = together * theirs / (ours + theirs)

    def distances(drawn: Counts) -> Floats:  # (draws, names) -> (draws, 2)
        variation = np.abs(drawn / theirs - (together - drawn) / ours).sum(axis=1) / 2
        # Pearson's statistic, up to a factor fixed by the margins.
        chi_square = ((drawn - expected) ** 2 / together).sum(axis=1)
        return np.stack([variation, chi_square], axis=1)

    drawn, found = _drawn(counts, distances), distances(counts[1:])[0]
    return Distance(float(found[0]), float(drawn[:, 0].mean()), _rank(drawn[:, 1], found[1]))


def distributions(earlier: Mapping[float, int], new: Mapping[float, int]) -> Distance:
    """Return the largest difference of the distribution functions at `CUTS` quantiles of all values, 0 to 1.

    The statistic is that of Kolmogorov and Smirnov.
    """
    values = sorted(earlier.keys() | new.keys())
    counts = _table([earlier.get(value, 0) for value in values], [new.get(value, 0) for value in values])
    below = np.cumsum(counts.sum(axis=0))
    # The part of each value; these depend on the pooled rows, so they are the same for every draw.
    parts = (below - 1) * CUTS // below[-1]
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
    """Return how far the mean of the new values is above that of the earlier ones; 0 if it is below."""
    values = sorted(earlier.keys() | new.keys())
    counts = _table([earlier.get(value, 0) for value in values], [new.get(value, 0) for value in values])
    together, (ours, theirs), at = counts.sum(axis=0), counts.sum(axis=1), np.array(values, np.float64)

    def distances(drawn: Counts) -> Floats:
        above: Floats = drawn @ at / theirs - (together - drawn) @ at / ours
        return np.maximum(above, 0.0)

    return _distance(_drawn(counts, distances), distances(counts[1:])[0])


def label_sets(earlier: Mapping[tuple[str, ...], int], new: Mapping[tuple[str, ...], int]) -> Distance:
    """Return the dissimilarity of Bray and Curtis (1957) between the shares of rows with each label, 0 to 1.

    It is the sum of the shares' absolute differences over the sum of all shares. Rows without labels count as
    a name of their own, so that with one label or none in each row it is the total variation distance.
    Labels that all become more frequent alike change it, which the shares in all labels do not show; a mean
    of differences over labels would hide one label among many.

    Each sample is given as how many rows have which labels; rows are drawn with all their labels.
    """
    from scipy.sparse import csr_array

    sets = sorted(earlier.keys() | new.keys())
    places = {name: place for place, name in enumerate(sorted({name for one in sets for name in one}), 1)}
    counts = _table([earlier.get(one, 0) for one in sets], [new.get(one, 0) for one in sets])
    columns = [[places[name] for name in one] or [0] for one in sets]  # 0: no label
    flat = [place for own in columns for place in own]
    starts = np.cumsum([0, *map(len, columns)])
    member = csr_array((np.ones(len(flat)), flat, starts), shape=(len(sets), 1 + len(places)))
    together, (ours, theirs) = counts.sum(axis=0) @ member, counts.sum(axis=1)  # (names,), rows

    def distances(drawn: Counts) -> Floats:  # (draws, sets) -> (draws,)
        new_rows = drawn @ member  # (draws, names)
        shares = new_rows / theirs, (together - new_rows) / ours
        found: Floats = np.abs(shares[0] - shares[1]).sum(axis=1) / (shares[0] + shares[1]).sum(axis=1)
        return found

    return _distance(_drawn(counts, distances), distances(counts[1:])[0])


def _table(earlier: list[int], new: list[int]) -> Counts:
    return np.array([earlier, new], np.int64)


def _drawn(counts: Counts, distances: Callable[[Counts], Floats]) -> Floats:
    """Return the distances of `DRAWS` draws with as many rows as the new sample has."""
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
