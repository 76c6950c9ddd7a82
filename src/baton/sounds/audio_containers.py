"""The container of an encoded clip: which format it is, what is wrong with it, and how long it is.

Decoders read what is there of a truncated WAV, AIFF or Ogg file without complaint, so the sizes that the
container states are compared with the file here. Tags before the sound are removed, and lengths that the
writer did not know are filled in, since libsndfile would read less than there is. FLAC is checked by its
decoder.
"""

import struct
from pathlib import PurePosixPath
from typing import NamedTuple

from baton.sounds import mpeg_frames, ogg_pages

BEGINNINGS = (  # offset, bytes, format
    (8, b"WAVE", "WAV"),
    (8, b"AIFF", "AIFF"),
    (8, b"AIFC", "AIFF"),
    (0, b"fLaC", "FLAC"),
    (0, b"OggS", "OGG"),
    (0, b"ID3", "MP3"),
    (0, b"\xff\xfb", "MP3"),
    (0, b"\xff\xfa", "MP3"),
    (0, b"\xff\xf3", "MP3"),
    (0, b"\xff\xf2", "MP3"),
    (0, b"\xff\xe3", "MP3"),
    (0, b"\xff\xe2", "MP3"),
)
SUFFIXES = {
    ".wav": "WAV",
    ".wave": "WAV",
    ".aif": "AIFF",
    ".aiff": "AIFF",
    ".aifc": "AIFF",
    ".flac": "FLAC",
    ".ogg": "OGG",
    ".oga": "OGG",
    ".opus": "OGG",
    ".mp3": "MP3",
}
BEGINNING_BYTES = 12
TAG = 10  # bytes of an ID3v2 tag's header, and of its footer
FOOTER = 0x10  # the flag of a tag that has one
CHUNKS = {"WAV": ("<", b"data"), "AIFF": (">", b"SSND")}  # order of bytes, and the chunk of samples
# Sizes of samples by programs that write to a pipe and do not know how many will follow, as is 0.
PIPED = (range(0x7FFF_F000, 0x8000_0100), range(0xFFFF_FF00, 0x1_0000_0000))
LONG = ("<Q", 28)  # of an RF64 file, whose first chunk has the size of the samples: its form and place


class Container(NamedTuple):
    """A file as libsndfile is to read it, and what was found in it."""

    parts: tuple[bytes, ...]  # one after the other, without tags before the sound and with their lengths
    fault: str  # why it is not to be read; empty if nothing was found
    notes: tuple[str, ...]


def begins_as(content: bytes) -> str:
    """Return the format that a file's first bytes belong to, or an empty string."""
    return next(
        (name for offset, beginning, name in BEGINNINGS if content[offset:].startswith(beginning)), ""
    )


def named_as_audio(name: str) -> bool:
    """Return whether a file's suffix is that of a clip."""
    return PurePosixPath(name).suffix.lower() in SUFFIXES


def misnamed(name: str, found: str) -> str:
    """Describe how a file's suffix contradicts the format of its content; empty if it does not."""
    suffix = PurePosixPath(name).suffix
    named = SUFFIXES.get(suffix.lower())
    return f"{found}, but named {suffix}" if named and named != found else ""


def inspect(content: bytes) -> Container:
    """Return a file as libsndfile is to read it, and what is wrong with it.

    An Ogg file of whole pages, of which the last does not say that it is, is noted: some encoders write such
    files; one that was cut between two pages looks the same.
    """
    bare = _without_tags(content)
    match begins_as(bare):
        case "WAV" | "AIFF" as name:
            whole, fault = _sized(bare, *CHUNKS[name])
            return Container((whole,), fault, ())
        case "OGG":
            starts, fault, ended = ogg_pages.inspect(bare)
            links = tuple(
                bare[start:end] for start, end in zip(starts, (*starts[1:], len(bare)), strict=False)
            )
            return Container(links, fault, () if ended else ("no end mark",))
        case "MP3":
            whole, fault = mpeg_frames.inspect(bare)
            return Container((whole,), fault, ())
        case "FLAC":
            # The last 36 bits before byte 26; libsndfile seeks by them.
            stated = int.from_bytes(bare[18:26]) & ((1 << 36) - 1)
            unstated = "unsupported: a FLAC that does not state its length; save it again"
            return Container((bare,), "" if stated else unstated, ())
        case _:
            fault = "broken or truncated: no sound follows its ID3 tag" if begins_as(content) else ""
            return Container((bare,), fault, ())


def _without_tags(content: bytes) -> bytes:
    """Return a file without the ID3v2 tags at its beginning, and the padding after them."""
    position = 0
    while content.startswith(b"ID3", position) and len(content) >= position + TAG:
        size = 0
        for byte in content[position + 6 : position + TAG]:  # seven bits of each
            size = size << 7 | byte & 0x7F
        position += TAG + size + (TAG if content[position + 5] & FOOTER else 0)
    return content[position:].lstrip(b"\0") if position else content


def _sized(content: bytes, order: str, wanted: bytes) -> tuple[bytes, str]:
    """Return a RIFF or IFF file that states how many bytes of samples it has, and what is missing of them."""
    place = _chunk(content, order, wanted)
    if place is None:
        return content, ""
    long = content.startswith(b"RF64") and content[12:16] == b"ds64" and content[place] == 0xFF
    form, at = LONG if long else (f"{order}I", place)
    size, there = struct.unpack_from(form, content, at)[0], len(content) - place - 4
    if there < size and (long or not any(size in sizes for sizes in PIPED)):
        return content, f"truncated: {size - there:,} of {size:,} bytes of samples are missing"
    (whole,) = struct.unpack_from(f"{order}I", content, 4)
    others = place + 4 < whole + 8 <= len(content)  # chunks that follow an empty one
    if there < size or (size == 0 and there and not others):
        return content[:at] + struct.pack(form, there) + content[at + struct.calcsize(form) :], ""
    return content, ""


def _chunk(content: bytes, order: str, wanted: bytes) -> int | None:
    """Return where a RIFF or IFF chunk states its size; None if there is no such chunk."""
    position = BEGINNING_BYTES
    while position + 8 <= len(content):
        kind, size = struct.unpack_from(f"{order}4sI", content, position)
        if kind == wanted:
            return position + 4
        position += 8 + size + size % 2
    return None
