"""The container of an encoded clip: which format it is, and whether its end is missing.

Decoders read what is there of a truncated WAV, AIFF or Ogg file without complaint, so the sizes that the
container states are compared with the file here. FLAC and MP3 are checked by their decoders; an MP3 without a
Xing header does not state its length, so a missing end is unknown.
"""

import struct
from pathlib import PurePosixPath

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
UNKNOWN = (0, 0xFFFFFFFF)  # sizes of samples that a program wrote before it knew how many would follow
PAGE, LAST_PAGE = 27, 4  # bytes of an Ogg page's header; the flag of the last one


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


def missing(content: bytes) -> str:
    """Describe what is missing at the end of a WAV, AIFF or Ogg file; empty if nothing is."""
    match begins_as(content):
        case "WAV":
            size, there = _chunk(content, "<", b"data", 0)
            if size == UNKNOWN[1] and content.startswith(b"RF64"):
                size = _long_size(content)
        case "AIFF":
            size, there = _chunk(content, ">", b"SSND", 0)
        case "OGG":
            return (
                "" if _last_page(content) is not None else "truncated: the end of the Ogg stream is missing"
            )
        case "FLAC":
            # The last 36 bits before byte 26; libsndfile seeks by them.
            stated = int.from_bytes(content[18:26]) & ((1 << 36) - 1)
            return "" if stated else "unsupported: a FLAC that does not state its length; save it again"
        case _:
            return ""
    if size in UNKNOWN or there >= size:
        return ""
    return f"truncated: {size - there:,} of {size:,} bytes of samples are missing"


def _chunk(content: bytes, order: str, wanted: bytes, least: int) -> tuple[int, int]:
    """Return the stated size of a RIFF or IFF chunk, `least` if there is none, and the bytes there are."""
    position = BEGINNING_BYTES
    while position + 8 <= len(content):
        kind, size = struct.unpack_from(f"{order}4sI", content, position)
        if kind == wanted:
            return size, len(content) - position - 8
        position += 8 + size + size % 2
    return least, 0


def _long_size(content: bytes) -> int:
    """Return the size of the samples that an RF64 file states in its first chunk."""
    if content[12:16] != b"ds64" or len(content) < 36:
        return 0
    size: int = struct.unpack_from("<Q", content, 28)[0]
    return size


def notes(content: bytes) -> list[str]:
    """Return `no end mark` for an Ogg file of whole pages, of which the last does not say that it is.

    Some encoders write such files; one that was cut between two pages looks the same.
    """
    return ["no end mark"] if begins_as(content) == "OGG" and _last_page(content) is False else []


def _last_page(content: bytes) -> bool | None:
    """Return whether the last page of an Ogg file says that it is the last; None if it is not whole."""
    position, last = 0, False
    while content.startswith(b"OggS", position) and position + PAGE <= len(content):
        segments = content[position + 26]
        sizes = content[position + PAGE : position + PAGE + segments]
        end = position + PAGE + segments + sum(sizes)
        if len(sizes) < segments or end > len(content):
            return None
        last = bool(content[position + 5] & LAST_PAGE)
        position = end
    return None if 0 < len(content) - position < PAGE and content.startswith(b"Ogg", position) else last
