"""What a model of sound reads follows from its base: timm's reads any spectrogram, Whisper's its own."""

from typing import Any

import pytest

from baton import params
from baton.arrays import audio_input
from baton.contracts.input_spec import AudioInput
from baton.errors import BatonError

SETTINGS = params.AudioTokenize(
    kind="audio",
    sample_rate=16_000,
    seconds=1.92,
    part="head",
    parts=1,
    bands=80,
    window=400,
    hop=160,
    chunk_size=8,
)
WHISPER = {"model_type": "whisper", "num_mel_bins": 80, "max_source_positions": 1500}
READS = AudioInput(16_000, 1.92, "head", 80, 400, 160)


def settings(**changes: Any) -> params.AudioTokenize:
    return SETTINGS.model_copy(update=changes)


def test_both_libraries_read_the_spectrogram() -> None:
    assert audio_input.describe({"architecture": "resnet18"}, SETTINGS) == READS
    assert audio_input.describe(WHISPER, SETTINGS) == READS
    assert audio_input.describe(WHISPER, settings(seconds=30.0)).frames == 3000
    assert audio_input.describe({"architecture": "resnet18"}, settings(bands=64, seconds=0.33)).bands == 64


@pytest.mark.parametrize(
    ("config", "changes", "message"),
    [
        (WHISPER, {"bands": 64, "hop": 320}, "got:      bands 64, hop 320"),
        (WHISPER, {"seconds": 0.33}, "a multiple of 0.02 up to 30"),
        (WHISPER, {"seconds": 30.02}, "a multiple of 0.02 up to 30"),
        (WHISPER | {"max_source_positions": 50}, {}, "a multiple of 0.02 up to 1"),
        ({"model_type": "bert"}, {}, "got:      bert"),
    ],
)
def test_what_a_base_does_not_read_is_refused(
    config: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(BatonError, match="next:") as caught:
        audio_input.describe(config, settings(**changes))
    assert message in str(caught.value)
