"""An encoded clip of sound -> its samples in one channel, or the reason why it cannot be decoded.

Every external clip passes through `decode`, in preprocess, tokenize and served models alike. It reads WAV,
AIFF, FLAC, Ogg (Vorbis, Opus) and MP3 by libsndfile, a block at a time, and never more than the seconds that
are allowed, whatever the header says. It is thread-safe.
"""

import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baton.errors import UndecodableError
from baton.sounds import audio_containers

FORMATS = {"WAV": "WAV", "WAVEX": "WAV", "RF64": "WAV", "AIFF": "AIFF", "FLAC": "FLAC", "OGG": "OGG"}
FORMATS |= {"MP3": "MP3"}  # libsndfile's name -> ours
LOWEST_RATE, HIGHEST_RATE = 4000, 192_000  # Hz
MOST_CHANNELS = 32
LAYERS = ("MPEG_LAYER_I", "MPEG_LAYER_II")  # of MP3 only the third is read
MOST_VALUES = 2 * 48_000  # samples of all channels, per second that is allowed
UNKNOWN = 2**62  # numbers of samples from here on mean that a file does not state it
BLOCK = 2**16  # samples of each channel that are decoded at a time
OPPOSITE = 0.01  # power of the mean of channels, as a share of theirs, below which they cancel each other
SILENT = 1e-3  # the largest sample of a silent clip, without its mean: 60 dB below full scale
OFFSET = 0.01  # a mean that is noted, as a share of full scale
FULL, RUN, CLIPPED = 0.99, 3, 0.001  # of clipping: a level, equal samples in a row, their share of a clip
SHOWN_BYTES = 12


@dataclass(frozen=True, slots=True)
class DecodedClip:
    """A decoded clip and what was found in it."""

    samples: NDArray[np.float32]  # (samples,): one channel; full scale is -1 to 1
    rate: int  # samples per second
    format: str  # WAV, AIFF, FLAC, OGG or MP3
    notes: tuple[str, ...]  # `22050 Hz`, `24 bits`, `2 channels mixed`, …
    clipped: float  # share of the samples at full scale in runs of equal ones

    @property
    def seconds(self) -> float:
        """How long the clip lasts."""
        return len(self.samples) / self.rate

    @property
    def silent(self) -> bool:
        """Whether nothing can be heard."""
        return float(np.abs(self.samples - self.samples.mean(dtype=np.float64)).max()) < SILENT

    @property
    def loudness(self) -> float:
        """The root mean square without the mean, in decibels below full scale; -120 is the least."""
        spread = float(self.samples.std(dtype=np.float64))
        return 20 * float(np.log10(max(spread, 1e-6)))


def decode(content: bytes, max_seconds: float) -> DecodedClip:
    """Decode a whole clip and mix its channels.

    The channels' mean is taken. If they cancel each other (opposite phases, as of a cable that is wired
    wrongly), the first channel is, and a note says so.

    Args:
        content: An encoded file.
        max_seconds: Longer clips, according to their header or in fact, are not decoded, nor those with more
            samples, of all channels, than stereo at 48 kHz has in this time.

    Raises:
        UndecodableError: If the content is empty, without samples, not sound, of an unsupported layout,
            broken, truncated, or enormous.
    """
    if not content:
        raise UndecodableError("unreadable", "empty: 0 bytes")
    parts, fault, notes = audio_containers.inspect(content)
    if fault:
        raise UndecodableError("unreadable", fault)
    clips: list[DecodedClip] = []
    for part in parts:
        clips.append(_opened(part, max_seconds, notes))
        if (seconds := sum(clip.seconds for clip in clips)) > max_seconds:
            raise UndecodableError("enormous", f"enormous: {seconds:,.0f} s, more than {max_seconds:,g}")
    return clips[0] if len(clips) == 1 else _joined(clips)


def digest(clip: DecodedClip) -> str:
    """Return the hex SHA-256 of the rate and the samples: equal for any lossless format and bit depth."""
    hashed = hashlib.sha256(f"{clip.rate}\n".encode())
    hashed.update((clip.samples + np.float32(0)).data)  # one zero, not two
    return hashed.hexdigest()


def _opened(content: bytes, max_seconds: float, notes: tuple[str, ...]) -> DecodedClip:
    import soundfile

    try:
        with soundfile.SoundFile(io.BytesIO(content)) as file:
            name = _supported(file)
            if file.frames < UNKNOWN and (limit := _exceeded(file, file.frames, max_seconds)):
                raise UndecodableError("enormous", limit)
            return _decoded(file, name, max_seconds, notes)
    except UndecodableError:
        raise
    except soundfile.SoundFileError as error:
        raise UndecodableError("unreadable", _unreadable(content, error)) from None


def _joined(clips: list[DecodedClip]) -> DecodedClip:
    """Return the clip of several streams of a file, one after the other."""
    rates = sorted({clip.rate for clip in clips})
    if len(rates) > 1:
        found = " and ".join(f"{rate:,}" for rate in rates)
        raise UndecodableError("unreadable", f"unsupported: streams of {found} samples/s in one file")
    samples = np.concatenate([clip.samples for clip in clips])
    clipped = sum(clip.clipped * len(clip.samples) for clip in clips) / len(samples)
    notes = dict.fromkeys(note for clip in clips for note in clip.notes)
    return DecodedClip(samples, rates[0], clips[0].format, (*notes, f"{len(clips)} streams"), clipped)


def _supported(file: Any) -> str:
    """Return the format of an opened file, if it is one that is read."""
    if file.format not in FORMATS or file.subtype in LAYERS:
        kind = file.subtype if file.subtype in LAYERS else file.format
        raise UndecodableError("unreadable", f"not a format that is read ({_formats()}): {kind}")
    if not LOWEST_RATE <= file.samplerate <= HIGHEST_RATE:
        allowed = f"{LOWEST_RATE:,} to {HIGHEST_RATE:,}"
        raise UndecodableError("unreadable", f"unsupported: {file.samplerate:,} samples/s, not {allowed}")
    if file.channels > MOST_CHANNELS:
        raise UndecodableError(
            "unreadable", f"unsupported: {file.channels} channels, more than {MOST_CHANNELS}"
        )
    return FORMATS[file.format]


def _exceeded(file: Any, count: int, max_seconds: float) -> str:
    """Describe how a number of samples per channel exceeds what is decoded; empty if it does not."""
    seconds, values = count / file.samplerate, count * file.channels
    if seconds > max_seconds:
        return f"enormous: {seconds:,.0f} s, more than {max_seconds:,g}"
    if values > max_seconds * MOST_VALUES:
        most = f"{max_seconds * MOST_VALUES:,.0f}, as in {max_seconds:,g} s of stereo at 48 kHz"
        return f"enormous: {values:,} samples in {file.channels} channels, more than {most}"
    return ""


def _decoded(file: Any, name: str, max_seconds: float, notes: tuple[str, ...]) -> DecodedClip:
    mixed, first = [], []
    count = clipped = 0
    totals, squares = (
        np.zeros(1 + file.channels),
        np.zeros(1 + file.channels),
    )  # of the mixture and of each channel
    for block in _blocks(file):  # (samples, channels)
        count += len(block)
        if limit := _exceeded(file, count, max_seconds):  # a header that does not state it, or is wrong
            raise UndecodableError("enormous", limit)
        if not np.isfinite(block).all():
            raise UndecodableError("unreadable", "broken: a sample is not a finite number")
        mixed.append(block.mean(axis=1, dtype=np.float64).astype(np.float32))
        if file.channels > 1:
            first.append(block[:, 0].copy())
        both = np.column_stack([mixed[-1], block]).astype(np.float64)  # (samples, 1 + channels)
        totals, squares = totals + both.sum(axis=0), squares + (both**2).sum(axis=0)
        clipped += _at_full_scale(block)
    if count < file.frames < UNKNOWN:
        got = f"{count:,} of {file.frames:,} samples decode"
        raise UndecodableError("unreadable", f"truncated or broken: {got}")
    if not count:
        raise UndecodableError("unreadable", "zero length: no samples")
    found = [f"{file.samplerate} Hz", *_depth(file.subtype), *notes]
    powers = squares - totals**2 / count  # without the means: an offset has no phase
    opposite = file.channels > 1 and powers[0] < OPPOSITE * powers[1:].mean()
    if opposite and powers[1] < OPPOSITE * powers[1:].mean():
        raise UndecodableError(
            "unreadable", "unsupported: the channels cancel each other, the first is silent"
        )
    if file.channels > 1:
        found.append("opposite phases: first channel" if opposite else f"{file.channels} channels mixed")
    samples = np.concatenate(first if opposite else mixed)
    if abs(float(samples.mean(dtype=np.float64))) > OFFSET:
        found.append("DC offset")
    return DecodedClip(samples, file.samplerate, name, tuple(found), clipped / count)


def _blocks(file: Any) -> Iterator[NDArray[np.float32]]:
    """Yield the samples of a file, (samples, channels), a block at a time."""
    # `read` seeks after each block of a seekable file, and libsndfile's MP3 decoder starts anew there,
    # without the bits that it had kept: the next samples would be wrong.
    file.seekable = lambda: False
    size, left = max(1, BLOCK // file.channels), file.frames
    while left and len(block := file.read(min(size, left), dtype="float32", always_2d=True)):
        left -= len(block)
        yield block


def _at_full_scale(block: NDArray[np.float32]) -> int:
    """Return how many samples of (samples, channels), of the worst channel, are in runs at full scale."""
    equal = (block[1:] == block[:-1]) & (np.abs(block[1:]) >= FULL)
    runs = equal[1:] & equal[:-1]  # three equal samples, of which this is the first
    inside = np.zeros(block.shape, bool)
    for shift in range(RUN):
        inside[shift : shift + len(runs)] |= runs
    return int(inside.sum(axis=0).max())


def _depth(subtype: str) -> list[str]:
    match subtype:
        case "PCM_S8" | "PCM_U8":
            return ["8 bits"]
        case "PCM_24" | "PCM_32":
            return [f"{subtype[-2:]} bits"]
        case "FLOAT" | "DOUBLE":
            return ["floating point"]
        case "PCM_16" | "VORBIS" | "OPUS":
            return []
        case _:
            return [subtype.lower().replace("_", " ")]


def _unreadable(content: bytes, error: Exception) -> str:
    """Describe a file that libsndfile rejects."""
    text = " ".join(str(error).partition("object at")[2].partition(">: ")[2].split() or str(error).split())
    if name := audio_containers.begins_as(content):
        return f"broken or truncated: begins as {name}, but cannot be decoded ({text})"
    return f"not a format that is read ({_formats()}): begins with {content[:SHOWN_BYTES]!r}"


def _formats() -> str:
    return ", ".join(dict.fromkeys(FORMATS.values()))
