"""The pages of an Ogg file (RFC 3533): whether all are there and intact, and where its streams begin.

libsndfile skips a page that is damaged or missing, and reads only the first of several streams, so the pages
are checked here. Each states the checksum of its bytes, its number and the serial number of its stream.
"""

import struct
import zlib
from typing import NamedTuple

MARK, HEADER = b"OggS", 27  # of a page: its first bytes; those before its table of segments
FIRST, LAST = 2, 4  # the flags of a stream's first and last page
CUT = "truncated: the end of the Ogg stream is missing"
REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


class Pages(NamedTuple):
    """The pages of a file."""

    starts: tuple[int, ...]  # where its streams begin, one after the other
    fault: str  # what is wrong with it; empty if nothing is
    ended: bool  # whether the last page says that it is


def inspect(content: bytes) -> Pages:
    """Return where the streams of an Ogg file begin, and what is wrong with it.

    Bytes after the last page do not matter.
    """
    position, starts = 0, [0]
    number, serial, ended = -1, -1, False
    while content.startswith(MARK, position):
        end = _end(content, position)
        if end is None:
            return Pages((), CUT, False)
        flags, (own, place, checksum) = (
            content[position + 5],
            struct.unpack_from("<3I", content, position + 14),
        )
        if checksum != _checksum(content[position:end]):
            return Pages((), f"damaged: the checksum of Ogg page {number + 1} is wrong", False)
        if number > 0 and flags & FIRST and (own != serial or ended):
            starts.append(position)
        elif number >= 0 and own != serial:
            return Pages((), "unsupported: several Ogg streams at the same time", False)
        elif number >= 0 and (place != number + 1 or ended):
            after = f"page {number}" + (", the last one" if ended else "")
            return Pages((), f"damaged: Ogg page {place} follows {after}", False)
        position, number, serial, ended = end, place, own, bool(flags & LAST)
    if content.find(MARK, position) >= 0:
        return Pages((), f"damaged: what follows Ogg page {number} is not a page", False)
    rest = len(content) - position
    cut = 0 < rest < HEADER and content.startswith(b"Ogg", position)
    return Pages(tuple(starts), CUT if cut else "", ended)


def _end(content: bytes, position: int) -> int | None:
    """Return where a page ends, or None if that is after the end of the file."""
    if position + HEADER > len(content):
        return None
    segments = content[position + HEADER - 1]
    sizes = content[position + HEADER : position + HEADER + segments]
    end = position + HEADER + segments + sum(sizes)
    return end if len(sizes) == segments and end <= len(content) else None


def _checksum(page: bytes) -> int:
    """Return the CRC-32 of a page with a checksum of zeros, most significant bit first and from 0.

    zlib's has the same polynomial, but takes the bits of a byte in the opposite order and from all ones.
    """
    bare = (page[:22] + bytes(4) + page[26:]).translate(REVERSED)
    found = zlib.crc32(bare, 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(found.to_bytes(4, "little").translate(REVERSED))
