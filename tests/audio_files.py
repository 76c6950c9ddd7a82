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
