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

from baton.data import pillow
from baton.errors import DataError

# Not among them: what needs other programs (EPS, WMF), holds pictures of other sizes than its header says (ICO), or has no mark of its own.
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "DIB", "TIFF", "WEBP", "AVIF", "JPEG2000", "PPM")
SAME_SUFFIX = {"MPO": "JPEG", "DIB": "BMP"}  # variants that are saved under the other's suffix
BEGINNINGS = (  # offset, bytes, format: what tells a damaged picture from what never was one
    (0, b"\x89PNG", "PNG"),
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"GIF8", "GIF"),
    (0, b"BM", "BMP"),
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (8, b"WEBP", "WEBP"),
    (4, b"ftypavif", "AVIF"),
    (4, b"jP  ", "JPEG2000"),
)
PNG_END = b"IEND\xaeB`\x82"  # Pillow does not miss it
SHOWN_BYTES = 12


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


def decode(content: bytes, max_pixels: int) -> Picture:
    """Decode a picture: its first frame, upright, on white.

    16-bit values are scaled to 8 bits. Those of 32 bits have no white of their own: floats within 0 and 1 are scaled from there, all others
    from the picture's own least and greatest value.

    Args:
        content: an encoded file.
        max_pixels: what has more, according to its header, is not decoded.

    Raises:
        UndecodableError: the content is empty, no picture, broken, truncated, or enormous.
    """
    if not content:
        raise UndecodableError("unreadable", "empty: 0 bytes")
    from PIL import Image, UnidentifiedImageError

    with pillow.listening() as heard:
        try:
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                width, height = image.size
                if width * height > max_pixels:
                    raise UndecodableError("enormous", f"enormous: {width} x {height} pixels, more than {max_pixels:,}")
                if image.format == "PNG" and PNG_END not in content:
                    raise UndecodableError("unreadable", "truncated: the end of the PNG is missing")
                notes: list[str] = []
                name, frames = str(image.format), pillow.frames(image, notes)
                pixels = pillow.pixels(image, notes)
        except UndecodableError:
            raise
        except UnidentifiedImageError:
            raise UndecodableError("unreadable", _unidentified(content)) from None
        except Exception as error:  # noqa: BLE001  Pillow's readers raise whatever a malformed file leads them to
            text = " ".join(str(error).split()) or type(error).__name__
            raise UndecodableError("unreadable", f"{'truncated' if 'truncated' in text.lower() else 'broken'}: {text}") from None
    return Picture(pixels, name, tuple(notes), frames, tuple(dict.fromkeys(heard)))


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


def _unidentified(content: bytes) -> str:
    for offset, beginning, name in BEGINNINGS:
        if content[offset:].startswith(beginning):
            return f"broken or truncated: begins as {name}, but its header cannot be read"
    return f"not an image of a format that is read ({', '.join(FORMATS)}): begins with {content[:SHOWN_BYTES]!r}"
