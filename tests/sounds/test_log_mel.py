"""Spectrograms agree with Whisper's feature extractor; resampling keeps what both rates can hold."""

from typing import Any, Literal

import numpy as np
import pytest

from baton.contracts.input_spec import AudioInput
from baton.sounds import log_mel, resynthesis
from tests.audio_files import RATE, melody, noise, tone

WHISPER = AudioInput(RATE, 30.0, "head", 80, 400, 160)
SMALL = AudioInput(RATE, 1.0, "head", 40, 400, 160)


def test_filters_are_those_of_transformers() -> None:
    from transformers.audio_utils import mel_filter_bank

    for bands, window, rate in ((80, 400, 16_000), (128, 400, 16_000), (24, 256, 8000), (64, 1024, 44_100)):
        expected = mel_filter_bank(
            window // 2 + 1, bands, 0.0, rate / 2, rate, norm="slaney", mel_scale="slaney"
        )
        np.testing.assert_allclose(log_mel.filters(bands, window, rate), expected.T, atol=1e-12)


def test_the_spectrogram_is_whispers() -> None:
    from transformers import WhisperFeatureExtractor

    sound = melody(0) + noise(1, 1.0, level=0.01)
    sound -= sound.mean()
    expected = WhisperFeatureExtractor()(sound, sampling_rate=RATE, return_tensors="np")["input_features"][0]
    levels = log_mel.log_mel(log_mel.framed(sound, RATE, WHISPER), WHISPER)
    np.testing.assert_allclose((np.maximum(levels, levels.max() - 8) + 4) / 4, expected, atol=1e-4)
    # The stored bytes are these features, relative to the loudest, in steps of 2 / 255.
    pixels = log_mel.spectrogram(sound, RATE, WHISPER)[..., 0]
    assert pixels.shape == (80, 3000) and pixels.max() == 255
    np.testing.assert_allclose(pixels * (2 / 255), expected - expected.max() + 2, atol=1 / 255 + 1e-4)


def test_gain_and_offset_do_not_matter() -> None:
    sound = melody(2)
    expected = log_mel.spectrogram(sound, RATE, SMALL)
    for changed in (0.01 * sound, sound + 0.3):
        assert np.abs(log_mel.spectrogram(changed, RATE, SMALL).astype(int) - expected).max() <= 1


def test_silence_is_black_and_follows_a_short_clip() -> None:
    assert not log_mel.spectrogram(np.zeros(RATE, np.float32), RATE, SMALL).any()
    assert not log_mel.spectrogram(np.full(5, 0.5, np.float32), RATE, SMALL).any()
    pixels = log_mel.spectrogram(tone(seconds=0.5), RATE, SMALL)
    assert pixels[:, :48].any() and not pixels[:, 52:].any()


def test_a_tone_is_in_the_band_of_its_frequency() -> None:
    centres = log_mel.centres(40, RATE)
    for frequency in (300.0, 1000.0, 4000.0):
        pixels = log_mel.spectrogram(tone(frequency), RATE, SMALL)[..., 0]
        assert abs(centres[pixels[:, 50].argmax()] / frequency - 1) < 0.15


@pytest.mark.parametrize("rate", [4000, 8000, 11_025, 22_050, 44_100, 48_000, 192_000])
def test_a_tone_survives_resampling(rate: int) -> None:
    frequency = 1000.0
    resampled = log_mel.resample(tone(frequency, rate=rate), rate, RATE)
    middle = slice(2000, 14_000)
    np.testing.assert_allclose(resampled[middle], tone(frequency)[middle], atol=5e-3)


def test_what_the_lower_rate_cannot_hold_is_filtered_out() -> None:
    """A tone at 7 kHz would appear at 1 kHz if samples were merely left out."""
    resampled = log_mel.resample(tone(7000, rate=48_000), 48_000, 8000)
    assert np.abs(resampled[400:-400]).max() < 0.005 * 0.5
    aliased = tone(7000, rate=48_000)[::6]
    assert np.abs(aliased).max() > 0.4


def test_the_part_of_a_longer_clip() -> None:
    sound = np.concatenate([tone(300, 1.0), tone(2000, 1.0), tone(300, 1.0)])
    head, centre = (AudioInput(RATE, 1.0, part, 40, 400, 160) for part in ("head", "centre"))
    np.testing.assert_array_equal(
        log_mel.spectrogram(sound, RATE, head)[:, :97], log_mel.spectrogram(tone(300), RATE, head)[:, :97]
    )
    found = log_mel.spectrogram(sound, RATE, centre)[:, 10:90, 0]
    expected = log_mel.spectrogram(tone(2000), RATE, head)[:, 10:90, 0]
    np.testing.assert_allclose(found.argmax(0), expected.argmax(0))


@pytest.mark.parametrize("part", ["head", "centre"])
@pytest.mark.parametrize("rate", [4000, 8000, 11_025, 16_000, 44_100, 48_000, 192_000])
def test_only_what_is_read_is_resampled_to_the_same_bits(
    rate: int, part: Literal["head", "centre"], monkeypatch: pytest.MonkeyPatch
) -> None:
    sound, reads = noise(7, 5.03, rate), AudioInput(RATE, 1.0, part, 40, 400, 160)
    whole = log_mel.resample(sound - sound.mean(dtype=np.float64), rate, RATE)
    assert len(whole) == log_mel.resampled_length(len(sound), rate, RATE)
    start = (len(whole) - RATE) // 2 if part == "centre" else 0
    given, resample = [], log_mel.resample

    def counted(samples: Any, rate: int, target: int) -> Any:
        given.append(len(samples))
        return resample(samples, rate, target)

    monkeypatch.setattr(log_mel, "resample", counted)
    np.testing.assert_array_equal(log_mel.framed(sound, rate, reads), whole[start : start + RATE])
    assert given[0] < 1.2 * rate + 1000


def test_a_resynthesised_clip_has_about_the_spectrogram() -> None:
    pixels = log_mel.spectrogram(melody(3), RATE, SMALL)
    again = log_mel.spectrogram(resynthesis.samples(pixels, SMALL).astype(np.float32), RATE, SMALL)
    assert np.corrcoef(pixels.ravel(), again.ravel())[0, 1] > 0.8
    silent = np.zeros_like(pixels)
    assert not resynthesis.samples(silent, SMALL).any()
    assert resynthesis.wav(pixels, SMALL).startswith(b"RIFF")
