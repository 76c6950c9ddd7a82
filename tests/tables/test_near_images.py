"""Images that were saved again or resized are found; images that only have similar hashes are not."""

import itertools
import time

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits, load_sample_images

from baton.tables import near_duplicates, near_images
from tests.image_files import Pixels, noise, saved, smooth
from tests.images.test_decoding import decode


def cuts(count: int, seed: int = 0) -> list[Pixels]:
    """Return parts of two photographs (427 x 640), of 80 to 300 pixels, except those of the sky alone."""
    draw, found = np.random.default_rng(seed), []
    photos = load_sample_images().images
    while len(found) < count:
        height, width = draw.integers(80, 300, 2)
        top, left = draw.integers(0, 427 - height), draw.integers(0, 640 - width)
        part = np.ascontiguousarray(photos[len(found) % 2][top : top + height, left : left + width])
        found += [part] if part.std() > 30 else []
    return found


def resized(pixels: Pixels, wider: int, higher: int) -> Pixels:
    return np.asarray(
        Image.fromarray(pixels).resize(
            (pixels.shape[1] + wider, pixels.shape[0] + higher), Image.Resampling.BICUBIC
        )
    )


def alike(*shown: Pixels) -> dict[str, dict[str, float]]:
    return near_images.images(
        {str(place): near_images.fingerprint(pixels) for place, pixels in enumerate(shown)}
    )


CHANGES = {
    "quality 95": lambda pixels: decode(saved(pixels, "JPEG", quality=95)).pixels,
    "quality 75": lambda pixels: decode(saved(pixels, "JPEG", quality=75)).pixels,
    "quality 50": lambda pixels: decode(saved(pixels, "JPEG", quality=50)).pixels,
    "webp": lambda pixels: decode(saved(pixels, "WEBP", quality=80)).pixels,
    "a pixel wider": lambda pixels: resized(pixels, 1, 0),
    "a pixel smaller": lambda pixels: resized(pixels, -1, -1),
    "half": lambda pixels: resized(pixels, -pixels.shape[1] // 2, -pixels.shape[0] // 2),
    "brighter": lambda pixels: np.clip(pixels.astype(int) + 2, 0, 255).astype(np.uint8),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_photographs_are_found_and_no_others(change: str) -> None:
    photos = cuts(60)
    found = alike(*photos, *(CHANGES[change](pixels) for pixels in photos))
    pairs = {
        (min(one, int(other)), max(one, int(other)))
        for one in range(120)
        for other in found.get(str(one), ())
    }
    assert {(one, one + 60) for one in range(60)} >= pairs, "no pair of different images"
    assert len(pairs) >= 58, "of 60; a hash may be unstable"
    assert all(
        likeness >= 1 - near_images.DIFFERENCE for twins in found.values() for likeness in twins.values()
    )


def test_no_two_handwritten_digits_are_one() -> None:
    digits = np.rint(load_digits().images * (255 / 16)).astype(np.uint8)[..., np.newaxis]
    prints = {str(place): near_images.fingerprint(pixels) for place, pixels in enumerate(digits)}
    assert len({pixels.tobytes() for pixels in digits}) == 1797
    hashes = np.array([one.hash for one in prints.values()], np.uint64)
    alone = sum(
        int((np.bitwise_count(hashes[place] ^ hashes[:place]) <= near_images.DISTANCE).sum())
        for place in range(len(hashes))
    )
    assert alone > 400, "pairs that the hash alone would confuse"
    assert near_images.images(prints) == {}


def test_flat_pictures_are_not_one() -> None:
    flat = [np.full((40, 60, 3), 250, np.uint8) for _ in range(6)]
    for place, pixels in enumerate(flat):
        pixels[5 * place + 3, 20:24] = 240
    assert alike(*flat) == {}


def test_the_same_drawing_in_other_colours_is_another_picture() -> None:
    grey = smooth(0)[:, :, :1]
    red, blue = (
        np.concatenate([grey if channel == own else grey // 3 for channel in range(3)], axis=2)
        for own in (0, 2)
    )
    assert alike(red, blue) == {}
    assert set(alike(red, decode(saved(red, "JPEG", quality=90)).pixels)) == {"0", "1"}
    assert set(alike(grey, np.repeat(grey ^ 1, 3, axis=2))) == {"0", "1"}, "grey in one channel or three"


def test_no_candidate_is_missed() -> None:
    draw = np.random.default_rng(0)
    hashes = draw.integers(0, 2**64, 300, dtype=np.uint64)
    for place in range(100, 300):  # another hash with some bits flipped
        flips = draw.choice(64, draw.integers(0, 10), replace=False)
        hashes[place] = hashes[place - 100] ^ np.bitwise_or.reduce(
            np.uint64(1) << flips.astype(np.uint64), initial=np.uint64(0)
        )
    found = near_images._candidates(hashes, np.arange(300), np.zeros(300, int))
    pairs = {(int(a), int(b)) for one, other in found for a, b in zip(one, other, strict=True)}
    assert pairs == {
        (a, b)
        for a, b in itertools.combinations(range(300), 2)
        if int(hashes[a] ^ hashes[b]).bit_count() <= 6
    }
    assert len(pairs) > 100


def test_the_order_changes_nothing_and_none_is_fine() -> None:
    prints = {
        name: near_images.fingerprint(pixels)
        for name, pixels in zip("abc", (smooth(0), smooth(0) ^ 1, noise(1)), strict=True)
    }
    found = near_images.images(prints)
    assert set(found) == {"a", "b"} and found["a"]["b"] == found["b"]["a"]
    assert found == near_images.images(dict(reversed(prints.items())))
    assert near_images.images({}) == {}


def test_a_series_of_shots_is_one_group_in_little_time_and_memory() -> None:
    picture = near_images.fingerprint(cuts(1)[0])
    draw = np.random.default_rng(0)
    small = np.frombuffer(picture.small, np.uint8).copy()
    prints = {}
    for number in range(5000):
        small[draw.integers(len(small))] ^= 1
        prints[f"{number:04}"] = near_images.Print(picture.hash, small.tobytes())
    start = time.process_time()
    found = near_images.images(prints)
    assert time.process_time() - start < 30, "a second or two; comparing all pairs takes minutes"
    assert set(near_duplicates.groups(5000, near_duplicates.links(prints, found))) == {0}
    assert sum(map(len, found.values())) <= 2 * (near_images.PLACES + near_images.ENOUGH) * len(prints)
