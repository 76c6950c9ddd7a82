"""Pairs of texts that are likely to share most of their shingles: MinHash signatures, on disk, and banding.

Input: the shingles of texts, in row order. Output: pairs of places, to be compared exactly. Per text, the
signature takes 512 bytes of temporary files; in memory are 16 bytes, of one band at a time.
"""

import mmap
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from baton import storage

# A pair of similarity 0.7 shares a band with probability 1 - (1 - 0.7^4)^32 = 0.9998; each candidate is then
# compared exactly.
PERMUTATIONS, BANDS, SEED = 128, 32, 0
WIDTH = PERMUTATIONS // BANDS
MEMBERS = 8  # texts in a band that each text is compared with; groups of up to this many get all their pairs
CHUNK = 1024  # pairs compared at a time
SORTED = 2**20  # texts of a band that are sorted at a time
SPREAD = np.uint64(
    0x9E3779B97F4A7C15
)  # an odd number: the slices by which texts are sorted are about as large


class Signatures:
    """The MinHash of each text, in a temporary folder with one file for each band. A context manager."""

    def __init__(self, folder: Path | None) -> None:
        """The temporary folder is made in `folder`; None: where the system has such folders."""
        self._folder, self._count = folder, 0

    def __enter__(self) -> Self:
        self._stack = ExitStack()
        own = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="signatures-", dir=self._folder))
        self._paths = [Path(own) / f"{band}.bin" for band in range(BANDS)]
        self._files = [self._stack.enter_context(path.open("wb")) for path in self._paths]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with suppress(OSError):  # on a full disk, closing fails as writing did
            self._stack.close()

    def append(self, shingles: list[list[str]]) -> None:
        """Append the signatures of texts, each given by its sorted shingles."""
        from rensa import RMinHash

        found = RMinHash.digests_from_token_sets(shingles, PERMUTATIONS, SEED)
        bands = np.asarray(found, np.uint32).reshape(-1, BANDS, WIDTH)
        with storage.explained(self._paths[0]):
            for band, file in enumerate(self._files):
                file.write(bands[:, band].tobytes())  # tofile says nothing of a full disk
        self._count += len(bands)

    def candidates(self, similarity: float) -> Iterator[tuple[int, int]]:
        """Pair each text with the first `MEMBERS` that share a band with it, if their signatures are alike.

        Returns:
            Places, the later one first, in ascending order.
        """
        with storage.explained(self._paths[0]):
            for file in self._files:
                file.flush()
        pairs = np.empty(0, np.int64)
        if self._count:
            # The share of equal hashes estimates the Jaccard index with a standard deviation below 0.045:
            # near pairs exceed this bound.
            least = (similarity - 5 * 0.5 / PERMUTATIONS**0.5) * PERMUTATIONS
            with _Mapped(self._paths) as mapped:
                for path in self._paths:
                    new = np.setdiff1d(self._of_band(path), pairs, assume_unique=True)
                    pairs = np.union1d(pairs, new[self._likely(mapped, new, least)])
        return self._split(pairs)

    def _split(self, pairs: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
        for start in range(0, len(pairs), CHUNK):
            late, early = np.divmod(pairs[start : start + CHUNK], self._count)
            yield from zip(late.tolist(), early.tolist(), strict=True)

    def _of_band(self, path: Path) -> NDArray[np.int64]:
        """Return the pairs of one band, each as one number."""
        values = np.fromfile(path, np.uint64).reshape(-1, 2)  # two hashes in each
        slices = np.uint64(-(-len(values) // SORTED))
        found = []
        for number in range(int(slices)):
            some = np.arange(len(values)) if slices == 1 else np.flatnonzero(_slice(values, slices) == number)
            late, early = _first_members(values[some])
            found.append(some[late] * self._count + some[early])
        return np.concatenate(found)

    def _likely(self, mapped: "_Mapped", pairs: NDArray[np.int64], least: float) -> NDArray[np.bool_]:
        likely = np.zeros(len(pairs), bool)
        for start in range(0, len(pairs), CHUNK):
            late, early = np.divmod(pairs[start : start + CHUNK], self._count)
            same = sum(mapped.equal(band, late, early) for band in range(BANDS))
            likely[start : start + CHUNK] = same >= least
        return likely


class _Mapped:
    """The files of the bands, memory-mapped."""

    def __init__(self, paths: list[Path]) -> None:
        self._maps = []
        for path in paths:
            with path.open("rb") as file:
                self._maps.append(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        self._bands: list[NDArray[np.uint32]] = [
            np.frombuffer(one, np.uint32).reshape(-1, WIDTH) for one in self._maps
        ]

    def equal(self, band: int, late: NDArray[np.int64], early: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return how many hashes of a band are equal in each pair, (pairs,)."""
        found: NDArray[np.int64] = (self._bands[band][late] == self._bands[band][early]).sum(axis=1)
        self._maps[band].madvise(mmap.MADV_DONTNEED)  # the pages that were read would add up
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._bands.clear()
        for one in self._maps:
            one.close()


def _slice(values: NDArray[np.uint64], slices: np.uint64) -> NDArray[np.uint16]:
    """Return the slice in which each value is sorted, (values,)."""
    found = np.empty(len(values), np.uint16)
    for start in range(0, len(values), SORTED):
        some = values[start : start + SORTED]
        found[start : start + SORTED] = (((some[:, 0] ^ some[:, 1]) * SPREAD) >> np.uint64(32)) % slices
    return found


def _first_members(values: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pair each place with the first `MEMBERS` earlier ones of its value: later places, earlier places."""
    order = np.lexsort((values[:, 1], values[:, 0]))  # stable
    ordered = values[order]
    new = np.concatenate([[True], (ordered[1:] != ordered[:-1]).any(axis=1)])[: len(order)]
    starts = np.flatnonzero(new)[np.cumsum(new) - 1]  # where the run of each begins
    rank = np.arange(len(order)) - starts
    late, early = [], []
    for number in range(MEMBERS):
        places = np.nonzero(rank > number)[0]
        late.append(order[places])
        early.append(order[starts[places] + number])
    return np.concatenate(late), np.concatenate(early)
