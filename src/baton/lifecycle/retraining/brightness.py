"""How bright images are: what `drift` compares of images beside their labels, and what tells a new camera or another light first."""

from pathlib import Path

from baton.arrays import image_arrays
from baton.images import decoding
from baton.lifecycle import test_table

NO_LIMIT = 1 << 62  # of pixels: preprocess has let them pass


def measure(clean: Path, places: set[int]) -> list[float]:
    """Mean of an image's pixels over all channels, 0 (black) to 1 (white), of the images at `places` of train and val, in their order.

    Places are counted over train first, then val. One portion of images is in memory at a time.

    Raises:
        UndecodableError: an image cannot be decoded, which preprocess has seen to.
    """
    found, place = [], 0
    for split in test_table.TRAINED_ON:
        path = clean / f"{split}.parquet"
        bits = image_arrays.significant_bits(path)
        for some in test_table.inputs(path, "images"):
            found += [_brightness(content, bits) for own, content in enumerate(some, place) if own in places]
            place += len(some)
    return found


def _brightness(content: bytes, bits: int) -> float:
    return float(decoding.decode(content, NO_LIMIT, bits).pixels.mean()) / 255
