"""Image brightness: the measure by which `drift` compares images besides their labels.

A new camera or different light shows in it first.
"""

from pathlib import Path

from baton.arrays import image_arrays
from baton.images import decoding
from baton.lifecycle import test_table

NO_LIMIT = 1 << 62  # of pixels: preprocess has accepted the images


def measure(clean: Path, places: set[int]) -> list[float]:
    """Measure the mean pixel value of images over all channels, from 0 (black) to 1 (white).

    `places` are indices into train and val, train first; the results are in their order. One portion of
    images is in memory at a time.

    Raises:
        UndecodableError: an image cannot be decoded, which preprocess rules out.
    """
    found, place = [], 0
    for split in test_table.TRAINED_ON:
        path = clean / f"{split}.parquet"
        bits = image_arrays.significant_bits(path)
        for some in test_table.inputs(path, "images"):  # of images with texts too
            found += [_brightness(content, bits) for own, content in enumerate(some, place) if own in places]
            place += len(some)
    return found


def _brightness(content: bytes, bits: int) -> float:
    return float(decoding.decode(content, NO_LIMIT, bits).pixels.mean()) / 255
