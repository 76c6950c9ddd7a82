"""An encoded file -> the image opened by Pillow, or a description of a file that Pillow rejects.

Only formats that hold an image and need no other program are read. Long texts and colour profiles of a PNG
are removed first: Pillow would reject the whole file because of them, although the pixels need neither.
`decoding.decode` limits the image size by the header.
"""

import functools
import io
import re
import struct
import zlib
from pathlib import PurePosixPath
from typing import Any

# Excluded: formats that need other programs (EPS, WMF), whose images differ in size from the header (ICO),
# or have no distinctive signature.
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "DIB", "TIFF", "WEBP", "AVIF", "HEIF", "JPEG2000", "PPM")
BEGINNINGS = (  # offset, bytes, format: to distinguish a damaged image from a file that is not one
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
MOST_TEXT = 2**19  # bytes of all together, unpacked; Pillow accepts 2**20 for one
SAMPLES = {
    1: "unsigned integers",
    2: "signed integers",
    3: "floating point",
    5: "complex integers",
    6: "complex numbers",
}
WIDTH, BITS, COMPRESSION, BANDS, SAMPLE_FORMAT = 256, 258, 259, 277, 339  # tags of a TIFF
# Pillow's words for an intact file that it cannot read.
REFUSED = re.compile("unsupported|cannot handle", re.IGNORECASE)
SHOWN_BYTES = 12
BEGINNING_BYTES = 16


def image(content: bytes, notes: list[str]) -> Any:
    """Return the opened image, not yet loaded; `notes` receives the kinds of chunks left out.

    Raises:
        UnidentifiedImageError: If no reader accepts it; `unidentified` describes the file.
        Exception: Anything that Pillow's reader of the format raises on a malformed file.
    """
    from PIL import Image

    _register()
    content, cut = _without_long_texts(content)
    notes += [f"long {kind} left out" for kind in cut]
    return Image.open(io.BytesIO(content), formats=FORMATS)


def size(content: bytes) -> tuple[int, int]:
    """Return the width and height given by the header."""
    with image(content, []) as opened:
        width, height = opened.size
    return width, height


def unidentified(content: bytes) -> str:
    """Describe a file that no reader accepts."""
    if name := begins_as(content):
        layout = _tiff_layout(content) if name == "TIFF" else ""
        reason = "" if layout else _reason(content, name)
        if layout or REFUSED.search(reason):
            return f"unsupported layout: {layout or f'{name}: {reason}'}; save it as grey or RGB of 8 bits"
        detail = f" ({reason})" if reason else ""
        return f"broken or truncated: begins as {name}, but its header cannot be read{detail}"
    return (
        f"not an image of a format that is read ({', '.join(FORMATS)}): begins with {content[:SHOWN_BYTES]!r}"
    )


def begins_as(content: bytes) -> str:
    """Return the format that a file's first bytes belong to, or an empty string."""
    return next(
        (name for offset, beginning, name in BEGINNINGS if content[offset:].startswith(beginning)), ""
    )


def named_as_image(name: str) -> bool:
    """Return whether a file's suffix is that of an image."""
    from PIL import Image

    _register()
    return PurePosixPath(name).suffix.lower() in Image.registered_extensions()


@functools.cache
def _register() -> None:
    """Let Pillow read HEIC, and load all its readers so that each can be called individually."""
    from PIL import Image
    from pillow_heif import register_heif_opener

    Image.init()
    register_heif_opener(thumbnails=False)


def _reason(content: bytes, name: str) -> str:
    """Return the error message of the format's reader, which Pillow does not pass on."""
    from PIL import Image

    try:
        Image.OPEN[name][0](io.BytesIO(content), b"")
    except Exception as error:  # noqa: BLE001  a malformed header can make it raise anything
        return " ".join(str(error).split())
    return ""


# ---- PNG ----


def _without_long_texts(content: bytes) -> tuple[bytes, list[str]]:
    """Return a PNG without texts and colour profiles beyond MOST_TEXT, and the kinds of chunks removed."""
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
    """Return the size of a text after unpacking, in bytes, or any number above `room` if it is larger."""
    _, _, rest = chunk.partition(b"\0")  # the keyword
    if kind == b"iTXt":
        packed = rest[:1] == b"\1"
        rest = rest[2:].partition(b"\0")[2].partition(b"\0")[2]  # after language and translated keyword
    else:
        packed, rest = kind != b"tEXt", rest[1:]
    if not packed or len(chunk) > room:
        return len(chunk)
    try:
        return max(len(chunk), len(zlib.decompressobj().decompress(rest, room + 1)))
    except zlib.error:  # Pillow itself ignores such a text
        return len(chunk)


# ---- TIFF ----


def _tiff_layout(content: bytes) -> str:
    """Describe the bands and bits of a TIFF; return an empty string if its directory is unreadable."""
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
        plural, compression = "s" if bands > 1 else "", directory.get(COMPRESSION, 1)
    except Exception:  # noqa: BLE001  a malformed directory can make Pillow raise anything
        return ""
    return f"a TIFF with {bands} band{plural} of {depth} bits ({kind}), compression {compression}"
