"""Find near-duplicate images: saved again with loss, slightly resized or slightly brightened.

Each image is reduced to a print: its perceptual hash (64-bit pHash, by imagehash) and a small copy. Images
whose hashes differ in few bits are candidates, found by bands of bits without comparing all pairs; their
small copies decide. The hash alone would confuse handwritten digits, shoes and most flat images with one
another. Images without detail (a gradient, a blur) have unstable hashes and may be missed. Memory is about a
kilobyte per image.
"""

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from baton.tables.near_duplicates import Near

SIDE = 16  # of the small copy, in pixels
BITS, DISTANCE = 64, 6  # of a hash, and the most that may differ
BANDS = DISTANCE + 1  # so hashes within DISTANCE have at least one band in common
# Root mean square difference of the small copies, in standard deviations of the flatter one. JPEG at quality
# 75 and a resize by one pixel stay below 0.07 for 95 of 100 photographs; no pair of digits (1.6 million) or
# Fashion-MNIST images (8 million) falls below it.
DIFFERENCE = 0.1
FLAT = 2.0  # standard deviation in grey levels; flatter images are compared by their exact pixels only
ROWS, PLACES, PAIRS = 1024, 64, 4096  # compared at a time: hashes, small copies
ENOUGH = 8  # near-duplicates per image: up to this many, all pairs are found; beyond, enough to join them


class Print(NamedTuple):
    """The reduced form of an image that is kept."""

    hash: int  # 64 bits
    small: bytes  # SIDE x SIDE x 3 values


def fingerprint(pixels: NDArray[np.uint8]) -> Print:
    """Return the print of pixels (height, width, 1 or 3)."""
    import imagehash
    from PIL import Image

    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    bits = np.packbits(imagehash.phash(image).hash)
    small = image.convert("RGB").resize(
        (SIDE, SIDE), Image.Resampling.BOX if min(image.size) >= 2 * SIDE else Image.Resampling.BILINEAR
    )
    return Print(int.from_bytes(bits.tobytes()), small.tobytes())


def images(prints: Mapping[str, Print]) -> Near:
    """Find near-duplicate images.

    If many are alike (a burst of shots), not all pairs are returned: an image that is near `ENOUGH` earlier
    ones, and so joined to them (`near_duplicates.chains`), is not compared with any others. A pair depends
    only on what comes before the later of the two.

    Args:
        prints: Key (the digest of the pixels) -> print, in row order.

    Returns:
        Key -> near key -> similarity, which is 1 minus the difference of the small copies.
    """
    names = list(prints)
    small = np.frombuffer(b"".join(prints[name].small for name in names), np.uint8).reshape(
        len(names), SIDE * SIDE * 3
    )
    contrast = np.array([row.std() for row in small])
    hashes = np.array([prints[name].hash for name in names], dtype=np.uint64)
    earlier = np.zeros(len(names), np.int64)  # how many earlier ones each is near
    pairs: dict[tuple[int, int], float] = {}
    for early, late in _candidates(hashes, np.nonzero(contrast >= FLAT)[0], earlier):  # (pairs,) each
        apart = small[early].astype(np.float32) - small[late]
        differences = np.sqrt((apart**2).mean(axis=1)) / np.minimum(contrast[early], contrast[late])
        for place in np.nonzero(differences <= DIFFERENCE)[0]:
            pair = int(early[place]), int(late[place])
            earlier[pair[1]] += pair not in pairs
            pairs[pair] = float(1 - differences[place])
    found: dict[str, dict[str, float]] = {}
    for (one, other), likeness in pairs.items():
        found.setdefault(names[one], {})[names[other]] = likeness
        found.setdefault(names[other], {})[names[one]] = likeness
    return {name: dict(sorted(found[name].items())) for name in sorted(found)}


def _candidates(
    hashes: NDArray[np.uint64], some: NDArray[np.int64], earlier: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield pairs of places in `some`, the smaller first, whose hashes differ in at most DISTANCE bits.

    A few thousand pairs come at a time; some are repeated. A place for which the caller has counted `ENOUGH`
    in `earlier` gets no more pairs.
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
