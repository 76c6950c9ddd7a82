"""Near-duplicates among pictures: saved again with loss, resized a little, brightened a trifle.

Each picture is reduced to a print: its perceptual hash (pHash of 64 bits, by imagehash) and a small copy. Pictures whose hashes differ in
few bits are candidates, found by bands of bits without comparing all with all; their small copies decide. The hash alone would take
handwritten digits, shoes and most of what is flat for one another. Pictures without detail (a gradient, a blur) have hashes that tip over,
and may be missed. Memory is about a kilobyte a picture.
"""

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from baton.tables.near_duplicates import Near

SIDE = 16  # of the small copy, in pixels
BITS, DISTANCE = 64, 6  # of a hash, and the most that differ
BANDS = DISTANCE + 1  # so hashes that differ in no more bits have one band in common
# Root mean square difference of the small copies, in standard deviations of the flatter one. JPEG of quality 75 and a resize by one pixel
# stay below 0.07 for 95 of 100 photographs; of digits (1.6 million pairs) and Fashion-MNIST (8 million) none comes below it.
DIFFERENCE = 0.1
FLAT = 2.0  # grey levels of standard deviation: what has less is told apart by its exact pixels only
ROWS, PLACES, PAIRS = 1024, 64, 4096  # compared at a time: hashes with hashes, small copies
ENOUGH = (
    8  # earlier pictures that one is alike: all pairs are given of so many, and of more enough to join them
)


class Print(NamedTuple):
    """What is kept of a picture."""

    hash: int  # 64 bits
    small: bytes  # SIDE x SIDE x 3 values


def fingerprint(pixels: NDArray[np.uint8]) -> Print:
    """The print of pixels (height, width, 1 or 3)."""
    import imagehash
    from PIL import Image

    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    bits = np.packbits(imagehash.phash(image).hash)
    small = image.convert("RGB").resize(
        (SIDE, SIDE), Image.Resampling.BOX if min(image.size) >= 2 * SIDE else Image.Resampling.BILINEAR
    )
    return Print(int.from_bytes(bits.tobytes()), small.tobytes())


def pictures(prints: Mapping[str, Print]) -> Near:
    """Find the near-duplicates among pictures.

    Where many are alike (a series of shots), not all pairs are given: a picture that is like `ENOUGH` earlier ones, and so joined to them
    (`near.chains`), is compared with no others. A pair depends on what comes before the later of the two only.

    Args:
        prints: key (the digest of the pixels) -> print, in the order of the rows.

    Returns:
        key -> near key -> likeness, 1 less the difference of the small copies.
    """
    names = list(prints)
    small = np.frombuffer(b"".join(prints[name].small for name in names), np.uint8).reshape(
        len(names), SIDE * SIDE * 3
    )
    contrast = np.array([row.std() for row in small])
    hashes = np.array([prints[name].hash for name in names], dtype=np.uint64)
    earlier = np.zeros(len(names), np.int64)  # how many earlier ones each is like
    pairs: dict[tuple[int, int], float] = {}
    for early, late in _candidates(hashes, np.nonzero(contrast >= FLAT)[0], earlier):  # (pairs,) each
        apart = small[early].astype(np.float32) - small[late]
        differences = np.sqrt((apart**2).mean(axis=1)) / np.minimum(contrast[early], contrast[late])
        for place in np.nonzero(differences <= DIFFERENCE)[0]:
            pair = int(early[place]), int(late[place])
            earlier[pair[1]] += pair not in pairs
            pairs[pair] = float(1 - differences[place])
    found: Near = {}
    for (one, other), likeness in pairs.items():
        found.setdefault(names[one], {})[names[other]] = likeness
        found.setdefault(names[other], {})[names[one]] = likeness
    return {name: dict(sorted(found[name].items())) for name in sorted(found)}


def _candidates(
    hashes: NDArray[np.uint64], some: NDArray[np.int64], earlier: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Places among `some`, smaller ones first, whose hashes differ in at most DISTANCE bits; a few thousand at a time, some repeatedly.

    Of a place for which the caller has counted `ENOUGH` in `earlier`, no more are given.
    """
    edges = [BITS * band // BANDS for band in range(BANDS + 1)]
    for low, high in pairwise(edges):
        band = (hashes[some] >> np.uint64(low)) & np.uint64(2 ** (high - low) - 1)
        order = np.argsort(band, kind="stable")
        for places in np.split(some[order], np.nonzero(np.diff(band[order]))[0] + 1):
            for start in range(0, len(places), PLACES):
                firsts = places[start : start + PLACES]
                lates = places[start + 1 :]
                lates = lates[earlier[lates] < ENOUGH]
                for begin in range(0, len(lates), ROWS):
                    rows = lates[begin : begin + ROWS]
                    near = (
                        np.bitwise_count(hashes[firsts, None] ^ hashes[None, rows]) <= DISTANCE
                    )  # (firsts, rows)
                    one, other = np.nonzero(near & (firsts[:, None] < rows[None]))
                    for first in range(0, len(one), PAIRS):
                        yield firsts[one[first : first + PAIRS]], rows[other[first : first + PAIRS]]
