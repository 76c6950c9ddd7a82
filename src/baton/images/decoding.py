"""One encoded picture -> its pixels, or the reason why there are none; and back to PNG.

`decode` is what every file from outside goes through: no format that runs a program (PostScript), no more pixels than were asked for, and
every kind of pixel brought to 8 bits in one way. Thread-safe. Most formats hold no checksum (PNG does): damage in the midst of a JPEG can
look like a picture.
"""

import hashlib
import io
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from baton.errors import DataError
from baton.images import bit_depth, opening, pillow

SAME_SUFFIX = {"MPO": "JPEG", "DIB": "BMP"}  # variants that are saved under the other's suffix
PNG_END = b"IEND\xaeB`\x82"  # Pillow does not miss it


class UndecodableError(DataError):
    """There is no picture to be had from these bytes; `check` is the one of preprocess that says so: unreadable or enormous."""

    def __init__(self, check: str, reason: str) -> None:
        super().__init__(reason)
        self.check = check


@dataclass(frozen=True, slots=True)
class Picture:
    """What was decoded, and what had to be done for it."""

    pixels: NDArray[np.uint8]  # (height, width, channels), 1 channel where the file is greyscale, else 3
    format: str  # as Pillow names it
    notes: tuple[str, ...]  # `greyscale`, `palette`, `alpha on white`, …
    frames: int  # of which this is the first
    warnings: tuple[str, ...]  # Pillow's own words
    greatest: int = (
        0  # value of a PNG or TIFF that stores 16 bits, of which the file does not say how many are used
    )

    @property
    def transparent(self) -> bool:
        """Whether there is nothing to see but white: each pixel is transparent."""
        return bit_depth.TRANSPARENT in self.notes


def decode(content: bytes, max_pixels: int, bits: int = bit_depth.BITS_16) -> Picture:
    """Decode a picture: its first frame, upright, on white.

    16-bit values are scaled to 8 bits. Those of 32 bits have no white of their own: floats within 0 and 1 are scaled from there, all others
    from the picture's own least and greatest value.

    Args:
        content: an encoded file.
        max_pixels: what has more, according to its header, is not decoded.
        bits: how many of the 16 that a PNG or TIFF stores are used (see `deep`).

    Raises:
        UndecodableError: the content is empty, no picture, of a layout that is not read, broken, truncated, or enormous.
    """
    if not content:
        raise UndecodableError("unreadable", "empty: 0 bytes")
    from PIL import UnidentifiedImageError

    with pillow.listening() as heard:
        try:
            notes: list[str] = []
            with opening.image(content, notes) as image:
                width, height = image.size
                if width * height > max_pixels:
                    raise UndecodableError(
                        "enormous", f"enormous: {width} x {height} pixels, more than {max_pixels:,}"
                    )
                if image.format == "PNG" and PNG_END not in content:
                    raise UndecodableError("unreadable", "truncated: the end of the PNG is missing")
                name, frames = str(image.format), pillow.frames(image, notes)
                pixels, greatest = pillow.pixels(image, bits, notes)
        except UndecodableError:
            raise
        except UnidentifiedImageError:
            raise UndecodableError("unreadable", opening.unidentified(content)) from None
        except Exception as error:  # noqa: BLE001  Pillow's readers raise whatever a malformed file leads them to
            text = " ".join(str(error).split()) or type(error).__name__
            raise UndecodableError(
                "unreadable", f"{'truncated' if 'truncated' in text.lower() else 'broken'}: {text}"
            ) from None
    return Picture(pixels, name, tuple(notes), frames, tuple(dict.fromkeys(heard)), greatest)


def encode(pixels: NDArray[np.uint8]) -> bytes:
    """PNG of pixels (height, width, 1 or 3); the same pixels give the same bytes."""
    from PIL import Image

    target = io.BytesIO()
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(target, "PNG", compress_level=6)
    return target.getvalue()


def digest(pixels: NDArray[np.uint8]) -> str:
    """Hex sha256 of size and RGB values of pixels (height, width, 1 or 3): a grey picture has the same with one channel and with three."""
    height, width, channels = pixels.shape
    colours = np.repeat(pixels, 3, axis=2) if channels == 1 else np.ascontiguousarray(pixels)
    hashed = hashlib.sha256(f"{height} {width}\n".encode())
    hashed.update(colours.data)
    return hashed.hexdigest()


def misnamed(name: str, format: str) -> str:  # noqa: A002  Pillow's word
    """How a file's suffix contradicts the format of its content; empty where it does not, or names no format that Pillow knows."""
    from PIL import Image

    suffix = PurePosixPath(name).suffix
    named = Image.registered_extensions().get(suffix.lower())
    if not named or SAME_SUFFIX.get(named, named) == SAME_SUFFIX.get(format, format):
        return ""
    return f"{format}, but named {suffix}"
