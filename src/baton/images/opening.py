"""An encoded file -> the image that Pillow opens, or what kind of file it is that Pillow refuses.

Formats are the ones that hold a picture and need no other program. Long texts and colour profiles of a PNG are cut out before: Pillow
refuses the whole file for them, though the pixels need neither. How large a picture may be, `pictures.decode` decides by the header.
"""

import functools
import io
import re
import struct
import zlib
from pathlib import PurePosixPath
from typing import Any

# Not among them: what needs other programs (EPS, WMF), holds pictures of other sizes than its header says (ICO), or has no mark of its own.
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "DIB", "TIFF", "WEBP", "AVIF", "HEIF", "JPEG2000", "PPM")
BEGINNINGS = (  # offset, bytes, format: what tells a damaged picture from what never was one
    (0, b"\x89PNG", "PNG"),
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"GIF8", "GIF"),
    (0, b"BM", "BMP"),
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (0, b"II+\0", "TIFF"),
    (0, b"MM\0+", "TIFF"),
    (8, b"WEBP", "WEBP"),
    (4, b"ftypavif", "AVIF"),
    (4, b"ftyphe", "HEIF"),
    (4, b"ftypmif1", "HEIF"),
    (4, b"ftypmsf1", "HEIF"),
    (4, b"jP  ", "JPEG2000"),
)
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
TEXTS = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")
MOST_TEXT = 2**19  # bytes of them all, unpacked; Pillow takes 2**20 of one
SAMPLES = {
    1: "unsigned integers",
    2: "signed integers",
    3: "floating point",
    5: "complex integers",
    6: "complex numbers",
}
WIDTH, BITS, COMPRESSION, BANDS, SAMPLE_FORMAT = 256, 258, 259, 277, 339  # tags of a TIFF
REFUSED = re.compile(
    "unsupported|cannot handle", re.IGNORECASE
)  # how Pillow speaks of a whole file that it does not read
SHOWN_BYTES = 12
BEGINNING_BYTES = 16


def image(content: bytes, notes: list[str]) -> Any:
    """The opened image, not yet loaded; what was left out for that goes into `notes`.

    Raises:
        UnidentifiedImageError: no reader takes it; `unidentified` says what it is.
        Exception: whatever Pillow's reader of the format raises on a malformed file.
    """
    from PIL import Image

    _register()
    content, cut = _without_long_texts(content)
    notes += [f"long {kind} left out" for kind in cut]
    return Image.open(io.BytesIO(content), formats=FORMATS)


def size(content: bytes) -> tuple[int, int]:
    """Width and height, as the header says."""
    with image(content, []) as opened:
        width, height = opened.size
    return width, height


def unidentified(content: bytes) -> str:
    """What a file is that no reader takes."""
    if name := begins_as(content):
        layout = _tiff_layout(content) if name == "TIFF" else ""
        reason = "" if layout else _reason(content, name)
        if layout or REFUSED.search(reason):
            return f"unsupported layout: {layout or f'{name}: {reason}'}; save it as grey or RGB of 8 bits"
        return f"broken or truncated: begins as {name}, but its header cannot be read{f' ({reason})' if reason else ''}"
    return (
        f"not an image of a format that is read ({', '.join(FORMATS)}): begins with {content[:SHOWN_BYTES]!r}"
    )


def begins_as(content: bytes) -> str:
    """The format that a file's first bytes are of; empty if none."""
    return next(
        (name for offset, beginning, name in BEGINNINGS if content[offset:].startswith(beginning)), ""
    )


def named_as_picture(name: str) -> bool:
    """Whether a file's suffix is one of a picture."""
    from PIL import Image

    _register()
    return PurePosixPath(name).suffix.lower() in Image.registered_extensions()


@functools.cache
def _register() -> None:
    """Let Pillow read HEIC; and know all its readers, so that each can be asked by itself."""
    from PIL import Image
    from pillow_heif import register_heif_opener

    Image.init()
    register_heif_opener(thumbnails=False)


def _reason(content: bytes, name: str) -> str:
    """What the reader of the format says, which Pillow keeps to itself."""
    from PIL import Image

    try:
        Image.OPEN[name][0](io.BytesIO(content), b"")
    except Exception as error:  # noqa: BLE001  whatever a malformed header leads it to
        return " ".join(str(error).split())
    return ""


# ---- PNG ---------------------------------------------------------------------------------------------------------------------


def _without_long_texts(content: bytes) -> tuple[bytes, list[str]]:
    """A PNG without the texts and colour profiles that are more than MOST_TEXT; and the kinds of what was cut out."""
    if not content.startswith(PNG_SIGNATURE):
        return content, []
    kept, cut, room = [], [], MOST_TEXT
    start = position = len(PNG_SIGNATURE)
    while position + 12 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, position)
        end = position + 12 + length
        if kind in TEXTS:
            unpacked = _unpacked_size(kind, content[position + 8 : end - 4], room)
            if unpacked > room:
                kept.append(content[start:position])
                cut.append(kind.decode())
                start = end
            else:
                room -= unpacked
        position = end
    return (b"".join([PNG_SIGNATURE, *kept, content[start:]]) if cut else content), list(dict.fromkeys(cut))


def _unpacked_size(kind: bytes, chunk: bytes, room: int) -> int:
    """Bytes of a text as Pillow unpacks it, or more than `room`."""
    _, _, rest = chunk.partition(b"\0")  # the keyword
    if kind == b"iTXt":
        packed, rest = (
            rest[:1] == b"\1",
            rest[2:].partition(b"\0")[2].partition(b"\0")[2],
        )  # behind language and translated keyword
    else:
        packed, rest = kind != b"tEXt", rest[1:]
    if not packed or len(chunk) > room:
        return len(chunk)
    try:
        return max(len(chunk), len(zlib.decompressobj().decompress(rest, room + 1)))
    except zlib.error:  # Pillow leaves such a text out itself
        return len(chunk)


# ---- TIFF --------------------------------------------------------------------------------------------------------------------


def _tiff_layout(content: bytes) -> str:
    """Bands and bits of a TIFF whose directory can be read; else empty."""
    from PIL import TiffImagePlugin

    try:
        head = 16 if content[2:4] in {b"+\0", b"\0+"} else 8
        directory = TiffImagePlugin.ImageFileDirectory_v2(content[:head])
        stream = io.BytesIO(content)
        stream.seek(directory.next)
        directory.load(stream)
        if WIDTH not in directory:
            return ""
        bits, kinds = directory.get(BITS, (1,)), directory.get(SAMPLE_FORMAT, (1,))
        bands = directory.get(BANDS, 1)
        depth = " and ".join(str(depth) for depth in dict.fromkeys(bits))
        kind = " and ".join(SAMPLES.get(kind, f"samples of kind {kind}") for kind in dict.fromkeys(kinds))
        return f"a TIFF with {bands} band{'s' if bands > 1 else ''} of {depth} bits ({kind}), compression {directory.get(COMPRESSION, 1)}"
    except Exception:  # noqa: BLE001  whatever a malformed directory leads Pillow to
        return ""
