"""Samples -> the log-mel spectrogram that a model reads, as bytes.

With the settings of Whisper (Radford et al. 2022) the spectrogram is Whisper's: the same windows, filters and
logarithm. As there, 80 decibels below the loudest value are kept; values are also taken relative to it, so a
clip's gain does not matter, unless it is so quiet that they would fall below the floor of the logarithm.
"""

import functools
import math

import numpy as np
from numpy.typing import NDArray

from baton.contracts.input_spec import AudioInput

FLOOR = 1e-12  # of the power in a band
RANGE = 8.0  # powers of ten that are kept below the loudest value: 80 dB
WHITE = 255
FILTER = 10  # half of the length of resample_poly's filter, in samples of the lower rate
# Slaney's scale (Auditory Toolbox, 1998): linear up to BREAK, logarithmic above it.
LINEAR, BREAK, STEP = 200 / 3, 1000.0, math.log(6.4) / 27  # Hz per mel, Hz, of the logarithm per mel


def spectrogram(samples: NDArray[np.float32], rate: int, reads: AudioInput) -> NDArray[np.uint8]:
    """Return the spectrogram of the part of a clip that is read, (bands, frames, 1), the lowest band first.

    0 is 80 dB below the loudest value, or silence; 255 is the loudest value.

    Args:
        samples: (samples,), one channel.
        rate: its samples per second.
        reads: the model's input.
    """
    return _scaled(framed(samples, rate, reads), reads)


def spectrograms(samples: NDArray[np.float32], rate: int, reads: AudioInput) -> list[NDArray[np.uint8]]:
    """Return the spectrograms of the parts in which evaluation reads a clip; arguments as above.

    A clip that does not exceed `reads.seconds` has one, as does every clip if `reads.parts` is 1.
    """
    length = resampled_length(len(samples), rate, reads.sample_rate)
    count = min(reads.parts, -(-length // reads.samples))
    if count <= 1:
        return [spectrogram(samples, rate, reads)]
    starts = [place * (length - reads.samples) // (count - 1) for place in range(count)]
    parts = (_resampled_part(samples, rate, reads.sample_rate, start, reads.samples) for start in starts)
    return [_scaled(part, reads) for part in parts]


def _scaled(samples: NDArray[np.float64], reads: AudioInput) -> NDArray[np.uint8]:
    """Return the spectrogram of samples at the model's rate, as bytes."""
    levels = log_mel(samples, reads)
    loudest = max(float(levels.max()), math.log10(FLOOR) + RANGE)
    scaled = np.clip(1 + (levels - loudest) / RANGE, 0, 1)
    return np.rint(WHITE * scaled).astype(np.uint8)[..., None]


def framed(samples: NDArray[np.float32], rate: int, reads: AudioInput) -> NDArray[np.float64]:
    """Return the part of a clip that is read, at the model's rate and without the clip's mean, (samples,).

    A shorter clip is followed by silence.
    """
    spare = resampled_length(len(samples), rate, reads.sample_rate) - reads.samples
    start = spare // 2 if reads.part == "centre" and spare > 0 else 0
    read = _resampled_part(samples, rate, reads.sample_rate, start, reads.samples)
    return np.concatenate([read, np.zeros(reads.samples - len(read))])


def resampled_length(count: int, rate: int, target: int) -> int:
    """Return how many samples `resample` makes of `count`."""
    return -(-count * target // rate)


def _resampled_part(
    samples: NDArray[np.float32], rate: int, target: int, start: int, count: int
) -> NDArray[np.float64]:
    """Return at most `count` of the samples of a resampled clip without its mean, from `start` on.

    Only what these samples depend on is resampled; they have the bits of those of the whole clip.
    """
    common = math.gcd(rate, target)
    up, down = target // common, rate // common
    reach = FILTER * max(up, down) // up + 2  # of the filter, in samples of the clip
    first = max(0, start * down // up - reach) // down * down  # where a sample of both rates is
    last = (start + count) * down // up + reach
    resampled = resample(samples[first:last] - samples.mean(dtype=np.float64), rate, target)
    begin = start - first // down * up
    return resampled[begin : begin + count]


def resample(samples: NDArray[np.floating], rate: int, target: int) -> NDArray[np.float64]:
    """Return samples (samples,) at another rate; what is above half of the lower rate is filtered out."""
    if rate == target:
        return samples.astype(np.float64)
    from scipy.signal import resample_poly

    common = math.gcd(rate, target)
    resampled: NDArray[np.float64] = resample_poly(
        samples.astype(np.float64), target // common, rate // common
    )
    return resampled


def log_mel(samples: NDArray[np.float64], reads: AudioInput) -> NDArray[np.float64]:
    """Return the logarithm to base 10 of the power in each mel band, (bands, frames).

    Windows are Hann's, centred on multiples of `hop`; the samples are reflected at both ends.
    """
    half = reads.window // 2
    padded = np.pad(samples, (half, reads.window - half), mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, reads.window)[:: reads.hop][: reads.frames]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(reads.window) / reads.window)
    powers = np.abs(np.fft.rfft(windows * hann, axis=1)) ** 2  # (frames, window / 2 + 1)
    levels: NDArray[np.float64] = filters(reads.bands, reads.window, reads.sample_rate) @ powers.T
    return np.log10(np.maximum(levels, FLOOR))


@functools.lru_cache(maxsize=8)
def filters(bands: int, window: int, rate: int) -> NDArray[np.float64]:
    """Return triangular mel filters of equal area, (bands, window // 2 + 1), from 0 Hz to half the rate."""
    frequencies = np.arange(window // 2 + 1) * (rate / window)
    edges = _edges(bands, rate)
    widths = np.diff(edges)
    slopes = edges[:, None] - frequencies  # (bands + 2, frequencies)
    rising, falling = -slopes[:-2] / widths[:-1, None], slopes[2:] / widths[1:, None]
    return np.maximum(0, np.minimum(rising, falling)) * (2 / (edges[2:] - edges[:-2]))[:, None]


def centres(bands: int, rate: int) -> NDArray[np.float64]:
    """Return the frequency of each band's middle, (bands,) in Hz."""
    return _edges(bands, rate)[1:-1]


def _edges(bands: int, rate: int) -> NDArray[np.float64]:
    return _hertz(np.linspace(0.0, _mels(rate / 2), bands + 2))


def _mels(hertz: float) -> float:
    return hertz / LINEAR if hertz < BREAK else BREAK / LINEAR + math.log(hertz / BREAK) / STEP


def _hertz(mels: NDArray[np.float64]) -> NDArray[np.float64]:
    above = BREAK * np.exp(STEP * (mels - BREAK / LINEAR))
    return np.where(mels < BREAK / LINEAR, mels * LINEAR, above)
