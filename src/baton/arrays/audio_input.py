"""What a model of sound reads, from its base's config and params."""

from typing import Any

from baton import params
from baton.contracts.input_spec import AudioInput
from baton.errors import ModelError, ParamsError

RATE, WINDOW, HOP = 16_000, 400, 160  # of the spectrograms that Whisper was trained on
FRAMES = 2  # of each of Whisper's positions


def describe(config: dict[str, Any], settings: params.AudioTokenize) -> AudioInput:
    """Return what a model reads that starts from this base.

    An architecture of timm reads any spectrogram, Whisper's encoder only its own.

    Args:
        config: the base's config.json.
        settings: of the stage `tokenize`.

    Raises:
        ModelError: the base is neither.
        ParamsError: the settings are not those of Whisper, or are of more seconds than it reads.
    """
    reads = AudioInput(**settings.model_dump(exclude={"chunk_size"}))
    if "architecture" in config:
        return reads
    if config.get("model_type") != "whisper":
        raise ModelError(
            "the base model does not read sound",
            got=config.get("model_type", "neither architecture nor model_type in its config.json"),
            expected="a timm architecture, or model_type whisper",
            hint="choose another base, or set tokenize.kind to text",
        )
    most = FRAMES * HOP * int(config.get("max_source_positions", 1500)) / RATE
    wanted = {"sample_rate": RATE, "bands": int(config.get("num_mel_bins", 80)), "window": WINDOW, "hop": HOP}
    wrong = [name for name, value in wanted.items() if getattr(reads, name) != value]
    if wrong:
        raise ParamsError(
            "tokenize: this base model, Whisper, reads another spectrogram",
            got=", ".join(f"{name} {getattr(reads, name)}" for name in wrong),
            expected=", ".join(f"{name} {wanted[name]}" for name in wrong),
            hint="set them so in params.yaml",
        )
    if reads.samples % (FRAMES * HOP) or reads.seconds > most:
        raise ParamsError(
            "tokenize.seconds does not fit this base model, Whisper",
            got=reads.seconds,
            expected=f"a multiple of {FRAMES * HOP / RATE} up to {most:g}",
            hint="change tokenize.seconds in params.yaml",
        )
    return reads
