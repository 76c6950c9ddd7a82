"""A spectrogram -> a sound with about that spectrogram: one sine per band, as loud as the band.

It serves as an example of a model's input: the clip itself is not kept with the arrays.
"""

import io

import numpy as np
from numpy.typing import NDArray

from baton.contracts.input_spec import AudioInput
from baton.sounds.log_mel import RANGE, WHITE, centres

LOUDEST = 0.5  # of full scale


def wav(pixels: NDArray[np.uint8], reads: AudioInput) -> bytes:
    """Return a WAV of 16 bits for a spectrogram (bands, frames, 1)."""
    import soundfile

    target = io.BytesIO()
    soundfile.write(target, samples(pixels, reads), reads.sample_rate, "PCM_16", format="WAV")
    return target.getvalue()


def samples(pixels: NDArray[np.uint8], reads: AudioInput) -> NDArray[np.float64]:
    """Return samples (frames * hop,) within `LOUDEST`; silence for an empty spectrogram."""
    levels = (pixels[..., 0] / WHITE - 1) * (RANGE / 2)  # powers of ten of the amplitude
    amplitudes = np.where(pixels[..., 0] > 0, 10**levels, 0.0)  # (bands, frames)
    time = np.arange(pixels.shape[1] * reads.hop) / reads.sample_rate
    mixed = np.zeros(len(time))
    for frequency, own in zip(centres(reads.bands, reads.sample_rate), amplitudes, strict=True):
        mixed += np.repeat(own, reads.hop) * np.sin(2 * np.pi * frequency * time)
    peak = float(np.abs(mixed).max())
    return mixed * (LOUDEST / peak) if peak else mixed
