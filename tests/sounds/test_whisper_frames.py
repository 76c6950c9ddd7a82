"""What Whisper's encoder reads of a stored spectrogram: its own features, at the positions of the clip."""

import numpy as np
import pytest
import torch
from transformers import WhisperFeatureExtractor

from baton import params
from baton.batches.augmentation import masking
from baton.contracts.input_spec import AudioInput
from baton.sounds import log_mel, whisper_frames
from tests.audio_files import melody, noise

READS = AudioInput(16_000, 1.0, "head", 80, 400, 160)


def pixels(samples: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(log_mel.spectrogram(samples, 16_000, READS)).permute(2, 0, 1)[None]


def test_features_are_those_of_the_feature_extractor_at_the_loudest_level() -> None:
    samples = log_mel.framed(melody(0, level=0.2), 16_000, READS)
    loudest = log_mel.log_mel(samples, READS).max()
    samples *= 10 ** ((whisper_frames.LOUDEST - loudest) / 2)  # amplitude, half of the power's logarithm
    extract = WhisperFeatureExtractor(feature_size=80, chunk_length=1)
    theirs = extract(samples.astype(np.float32), sampling_rate=16_000, return_tensors="pt").input_features
    ours = whisper_frames.features(pixels(samples.astype(np.float32)))
    step = log_mel.RANGE / log_mel.WHITE / 4  # stored values are bytes
    assert (ours - theirs).abs().max() <= step / 2 + 1e-4


@pytest.mark.parametrize("seconds", [0.05, 0.4, 0.73, 0.9, 1.0, 1.5])
def test_the_positions_of_a_clip_are_those_of_its_samples(seconds: float) -> None:
    """A clip of n samples has ceil(n / 320) positions; its last window reaches 200 samples beyond it."""
    read = whisper_frames.heard(pixels(noise(1, seconds)))
    expected = -(-min(round(seconds * 16_000), 16_000) // 320)
    assert read.shape == (1, 50) and expected <= read.sum() <= min(expected + 1, 50)
    assert read[0, : int(read.sum())].all()


def test_masks_mixing_and_silence_leave_the_positions_alone() -> None:
    clip = pixels(noise(1, 0.4))
    stripes = clip.clone()
    stripes[:, :, 10:30] = 128
    mixed = 0.3 * stripes.float() + 0.7 * pixels(noise(2, 0.2)).float()
    for varied in (stripes, mixed, clip.float().mean(3, keepdim=True) * 0.5 + 0.5 * clip):
        assert torch.equal(whisper_frames.heard(varied), whisper_frames.heard(clip))
    assert whisper_frames.heard(torch.zeros_like(clip)).sum() == 1
    settings = params.Masks(time=1, frames=clip.shape[3], frequency=0, bands=1)
    whole = torch.tensor([[[clip.shape[3] // 8, clip.shape[3]]]])  # to the end of the silence
    masked = masking.masked(clip, whole, settings, 128)
    assert torch.equal(whisper_frames.heard(masked), whisper_frames.heard(clip))


def test_the_mean_is_over_the_clip_alone() -> None:
    clip = pixels(noise(1, 0.4))
    states = torch.arange(50.0).reshape(1, 50, 1).expand(1, 50, 3)
    count = int(whisper_frames.heard(clip).sum())
    torch.testing.assert_close(whisper_frames.pooled(states, clip), torch.full((1, 3), (count - 1) / 2))
