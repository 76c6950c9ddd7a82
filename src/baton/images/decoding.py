"""An encoded image -> its pixels, or the reason why it cannot be decoded; and pixels -> PNG.

Every external file passes through `decode`: it rejects formats that run a program (PostScript) and images
with more pixels than allowed, and converts every kind of pixel to 8 bits in the same way. It is thread-safe.
Most formats have no checksum (PNG does), so a JPEG that is damaged in the middle may still decode.
"""

import hashlib
import io
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from baton.errors import UndecodableError
from baton.images import bit_depth, opening, pillow

SAME_SUFFIX = {"MPO": "JPEG", "DIB": "BMP"}  # variants that are saved with the other's suffix
PNG_END = b"IEND\xaeB`\x82"  # Pillow does not report a missing end


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """A decoded image and the conversions applied to it."""

    pixels: NDArray[np.uint8]  # (height, width, channels): 1 channel if the file is greyscale, else 3
    format: str  # as Pillow names it
    notes: tuple[str, ...]  # `greyscale`, `palette`, `alpha on white`, …
    frames: int  # in the file; this is the first
    warnings: tuple[str, ...]  # Pillow's, verbatim
    # The greatest value, if a PNG or TIFF stores 16 bits without saying how many are used.
    greatest: int = 0

    @property
    def transparent(self) -> bool:
        """Whether every pixel is transparent, so that nothing but white is visible."""
        return bit_depth.TRANSPARENT in self.notes


def decode(content: bytes, max_pixels: int, bits: int = bit_depth.BITS_16) -> DecodedImage:
    """Decode the first frame of an image, upright and on a white background.

    16-bit values are scaled to 8 bits. 32-bit values have no defined white level: floats between 0 and 1 are
    scaled from that range, all others from the image's own minimum and maximum.

    Args:
        content: An encoded file.
        max_pixels: Images with more pixels, according to their header, are not decoded.
        bits: How many of the 16 bits that a PNG or TIFF stores are used (see `bit_depth`).

    Raises:
        UndecodableError: If the content is empty, not an image, of an unsupported layout, broken, truncated,
            or enormous.
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
        except Exception as error:  # noqa: BLE001  a malformed file can make Pillow's readers raise anything
            text = " ".join(str(error).split()) or type(error).__name__
            raise UndecodableError(
                "unreadable", f"{'truncated' if 'truncated' in text.lower() else 'broken'}: {text}"
            ) from None
    return DecodedImage(pixels, name, tuple(notes), frames, tuple(dict.fromkeys(heard)), greatest)


def encode(pixels: NDArray[np.uint8]) -> bytes:
    """Return pixels (height, width, 1 or 3) as PNG; equal pixels give equal bytes."""
    from PIL import Image

    target = io.BytesIO()
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(target, "PNG", compress_level=6)
    return target.getvalue()


def digest(pixels: NDArray[np.uint8]) -> str:
    """Return the hex SHA-256 of the size and RGB values of pixels (height, width, 1 or 3).

    A grey image has the same digest with one channel as with three.
    """
    height, width, channels = pixels.shape
    colours = np.repeat(pixels, 3, axis=2) if channels == 1 else np.ascontiguousarray(pixels)
    hashed = hashlib.sha256(f"{height} {width}\n".encode())
    hashed.update(colours.data)
    return hashed.hexdigest()


def misnamed(name: str, format: str) -> str:  # noqa: A002  Pillow's term
    """Describe how a file's suffix contradicts the format of its content.

    Return an empty string if it does not, or if Pillow does not know the suffix.
    """
    from PIL import Image

    suffix = PurePosixPath(name).suffix
    named = Image.registered_extensions().get(suffix.lower())
    if not named or SAME_SUFFIX.get(named, named) == SAME_SUFFIX.get(format, format):
        return ""
    return f"{format}, but named {suffix}"
