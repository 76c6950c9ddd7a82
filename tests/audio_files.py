"""Encoded clips of sound for the tests, all made by soundfile or byte by byte."""

import io
import struct
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

RATE = 16_000


def tone(frequency: float = 440.0, seconds: float = 1.0, rate: int = RATE, level: float = 0.5) -> Any:
    """Return a sine, (samples,) float32."""
    time = np.arange(round(seconds * rate)) / rate
    return (level * np.sin(2 * np.pi * frequency * time)).astype(np.float32)


def noise(seed: int, seconds: float = 0.5, rate: int = RATE, level: float = 0.1) -> Any:
    """Return white noise, (samples,) float32."""
    drawn = np.random.default_rng(seed).standard_normal(round(seconds * rate))
    return (level * drawn).clip(-1, 1).astype(np.float32)


def melody(seed: int, seconds: float = 1.0, rate: int = RATE, level: float = 0.5) -> Any:
    """Return eight notes that only this seed has, (samples,) float32."""
    pitches = np.random.default_rng(seed).uniform(200, 3000, 8)
    notes = [tone(pitch, seconds / 8, rate, level) for pitch in pitches]
    return np.concatenate(notes)


def saved(
    samples: NDArray[Any], form: str = "WAV", subtype: str | None = None, rate: int = RATE, **options: Any
) -> bytes:
    """Return samples, (samples,) or (samples, channels), as a file."""
    target = io.BytesIO()
    soundfile.write(target, samples, rate, format=form, subtype=subtype, **options)
    return target.getvalue()


def bomb(hours: float = 10.0) -> bytes:
    """Return a FLAC of one second whose header states hours."""
    content = bytearray(saved(tone(), "FLAC"))
    # STREAMINFO: after rate, channels and bits, 36 bits of the number of samples end at byte 8 + 18.
    (packed,) = struct.unpack_from(">Q", content, 18)
    struct.pack_into(">Q", content, 18, packed & ~((1 << 36) - 1) | round(hours * 3600 * RATE))
    return bytes(content)


def tagged(content: bytes, size: int = 300) -> bytes:
    """Return a file behind an ID3v2 tag of `size` bytes, which the header states in groups of seven bits."""
    stated = bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x04\x00\x00" + stated + b"\xff" * size + content


def without_count(content: bytes) -> bytes:
    """Return an MP3 of soundfile without its first frame, whose Xing header counts the others."""
    assert b"Xing" in content[:64] or b"Info" in content[:64]
    return content[content.index(content[:2], 2) :]


def pages(content: bytes) -> list[bytes]:
    """Return the pages of an Ogg file."""
    return [b"OggS" + page for page in content.split(b"OggS")[1:]]


def summed(page: bytes) -> bytes:
    """Return an Ogg page with the checksum of its bytes, computed bit by bit as RFC 3533 says."""
    page, register = page[:22] + bytes(4) + page[26:], 0
    for byte in page:
        register ^= byte << 24
        for _ in range(8):
            register = (register << 1 ^ (0x04C11DB7 if register >> 31 else 0)) & 0xFFFFFFFF
    return page[:22] + struct.pack("<I", register) + page[26:]
