"""The frames of an MP3 file: how many there are, and whether the file says so.

Without a Xing or VBRI header libsndfile estimates the length from the first frame's bit rate and the size of
the file, tags included: it stops too early or expects too much. So the frames are counted here, and a file
that lacks the header gets one.
"""

import struct
from dataclasses import dataclass

# ISO 11172-3 and 13818-3, layer III: kbit/s by the header's index, of MPEG-1 and of MPEG-2 and 2.5.
HIGH = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
LOW = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8000)}  # by version
SYNC, RESERVED, MPEG_1, LAYER_3, MONO = 0x7FF, 1, 3, 1, 3  # of a header's fields
ALIKE = 0xFFFE0C00  # the bits of a header that all frames of a file share: sync, version, layer, rate
COUNTED = 1  # the flag of a Xing header that has the number of frames
ROOM = 64  # bytes of a frame in which a Xing header fits


@dataclass(frozen=True)
class Frame:
    """The header of a frame."""

    bits: int  # the four bytes

    @property
    def size(self) -> int:
        """The bytes of the frame."""
        version, index, rate = self.bits >> 19 & 3, self.bits >> 12 & 15, self.bits >> 10 & 3
        kilobits = (HIGH if version == MPEG_1 else LOW)[index - 1]
        samples = 1152 if version == MPEG_1 else 576
        return samples // 8 * 1000 * kilobits // RATES[version][rate] + (self.bits >> 9 & 1)

    @property
    def side(self) -> int:
        """The bytes of a layer III frame between its header and its samples, where a Xing header begins."""
        first, mono = self.bits >> 19 & 3 == MPEG_1, self.bits >> 6 & 3 == MONO
        return (17 if mono else 32) if first else (9 if mono else 17)


def inspect(content: bytes) -> tuple[bytes, str]:
    """Return a file of MPEG frames whose length libsndfile knows, and what is wrong with it.

    The second is empty if nothing is, or if libsndfile will find it.
    """
    first = _frame(content, 0)
    if first is None:
        free = content[2:3] < b"\x10"  # the bit rate's index is 0
        return content, "unsupported: an MP3 of free format; save it again" if free else ""
    stated = _stated(content, first)
    begin = 0 if stated is None else first.size
    count, end = _counted(content, begin, first)
    if stated:
        unread = count - stated
        return content, f"damaged: {unread:,} frames follow the {stated:,} it states" if unread > 1 else ""
    own = content[begin:end]
    rest = content[end : _without_tags(content, end)]
    if rest.strip(b"\0"):
        cut = (last := _frame(content, end)) is not None and last.size > len(rest)
        if cut:
            return content, f"truncated: the last of {count + 1:,} frames is incomplete"
        return content, f"damaged: {len(rest):,} bytes that are not frames follow the first {count:,}"
    return _header(first, count) + own, ""


def _frame(content: bytes, position: int) -> Frame | None:
    """Return the layer III frame at a position, or None if there is none or its size is not stated."""
    if position + 4 > len(content):
        return None
    (bits,) = struct.unpack_from(">I", content, position)
    index, rate = bits >> 12 & 15, bits >> 10 & 3
    if bits >> 21 != SYNC or bits >> 19 & 3 == RESERVED or bits >> 17 & 3 != LAYER_3:
        return None
    return Frame(bits) if 0 < index <= len(HIGH) and rate < len(RATES[MPEG_1]) else None


def _stated(content: bytes, first: Frame) -> int | None:
    """Return the frames that the first one states; 0 if it is a header without them, None if it is sound."""
    crc = 0 if first.bits >> 16 & 1 else 2
    for place in (4 + first.side, 4 + first.side + crc):
        if content[place : place + 4] in (b"Xing", b"Info"):
            flags, count = struct.unpack_from(">2I", content.ljust(place + 12, b"\0"), place + 4)
            return int(count) if flags & COUNTED else 0
    place = 4 + 32
    if content[place : place + 4] == b"VBRI":
        return int(struct.unpack_from(">I", content.ljust(place + 18, b"\0"), place + 14)[0])
    return None


def _counted(content: bytes, begin: int, first: Frame) -> tuple[int, int]:
    """Return the number of whole frames that follow each other from a position, and where they end."""
    count, position = 0, begin
    while (frame := _frame(content, position)) and not (frame.bits ^ first.bits) & ALIKE:
        if position + frame.size > len(content):
            break
        count, position = count + 1, position + frame.size
    return count, position


def _without_tags(content: bytes, begin: int) -> int:
    """Return where a file ends without the tags (ID3v1, APEv2, Lyrics3) after a position."""
    end = len(content)
    while end > begin:
        if content[end - 128 : end - 125] == b"TAG":
            size = 128
        elif content[end - 32 : end - 24] == b"APETAGEX":
            size, _, flags = struct.unpack_from("<3I", content, end - 20)
            size += 32 if flags >> 31 else 0
        elif content[end - 9 : end] == b"LYRICS200" and content[end - 15 : end - 9].isdigit():
            size = 15 + int(content[end - 15 : end - 9])
        else:
            break
        if size > end - begin:
            break
        end -= size
    return end


def _header(first: Frame, count: int) -> bytes:
    """Return a frame like the first one that states the number of the others, as a Xing header."""
    lowest = (Frame(first.bits & ~0xF200 | index << 12 | 1 << 16) for index in range(1, len(HIGH) + 1))
    frame = next(frame for frame in lowest if frame.size >= ROOM)  # without padding and checksum
    counted = b"Xing" + struct.pack(">2I", COUNTED, count)
    return (struct.pack(">I", frame.bits) + bytes(frame.side) + counted).ljust(frame.size, b"\0")
