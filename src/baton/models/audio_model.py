"""Classifiers of sound on Whisper's encoder, from a base model's folder or from a config.

They read the spectrograms that image models read too (see `sounds.whisper_frames`).
"""

from pathlib import Path
from typing import Any, Self

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import PreTrainedConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from baton import params
from baton.contracts.input_spec import AudioInput
from baton.errors import ModelError
from baton.models import transformers_backbone as backbones
from baton.models.classifier import CONFIG, WEIGHTS, weight_mismatch
from baton.models.encoder_classifier import EncoderClassifier
from baton.models.kernels import attention as attentions
from baton.models.kernels import dropout as dropouts
from baton.runtime.resolve import Work
from baton.sounds import whisper_frames

# How the names of the encoder's weights begin in checkpoints: with a language head, without, and alone.
PREFIXES = ("model.encoder.", "encoder.", "")


class AudioClassifier(EncoderClassifier):
    """Whisper's encoder with a classification head on the mean of its vectors."""

    def __init__(self, backbone: Any, head: params.Head, classes: int) -> None:
        """`backbone` is a `WhisperEncoder` with as many positions as clips have."""
        if head.pooling != "mean":
            raise ModelError(
                "finetune.head.pooling: Whisper's encoder has no token or pooler that stands for a clip",
                got=head.pooling,
                expected="mean",
                hint="set it to mean",
            )
        super().__init__(backbone, head, backbone.config.d_model, classes)
        attentions.install(backbone)
        dropouts.install(backbone)

    @classmethod
    def assemble(cls, config: Any, head: params.Head, classes: int, attention: str) -> Self:
        """See `EncoderClassifier`."""
        backbone = WhisperEncoder._from_config(
            config, attn_implementation=backbones.ATTENTION[attention], dtype=torch.float32
        )
        return cls(backbone, head, classes)

    def features(self, pixels: torch.Tensor) -> torch.Tensor:
        """Map spectrograms (batch, 1, bands, frames), uint8 or float from 0 to 255, to (batch, width)."""
        states = self.backbone(whisper_frames.features(pixels)).last_hidden_state
        return whisper_frames.pooled(states, pixels)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Map spectrograms, as in `features`, to logits (batch, classes)."""
        logits: torch.Tensor = self.head(self.features(pixels))
        return logits


def work(_: Path) -> Work:
    """Return the facts on which the runtime's `auto` depends."""
    return Work(fixed_shapes=True)


def create(
    base: Path, head: params.Head, classes: int, settings: params.Training, attention: str, reads: AudioInput
) -> AudioClassifier:
    """Create a classifier on a base model's encoder; the head is initialised from torch's global seed.

    The encoder keeps the positions of `reads.seconds`; a decoder in the base model is left out.

    Raises:
        ModelError: If the folder is incomplete, its weights do not match, or a rate of dropout is unknown.
    """
    config = read_config(base)
    backbones.set_dropout(config, settings)
    positions = reads.frames // whisper_frames.FRAMES
    weights = _weights(base / WEIGHTS)
    table = weights.get("embed_positions.weight")
    if table is not None:
        weights["embed_positions.weight"] = table[:positions]
    config.max_source_positions = positions
    model = AudioClassifier.assemble(config, head, classes, attention)
    try:
        model.backbone.load_state_dict(weights)
    except RuntimeError as error:
        raise ModelError(
            f"{base / WEIGHTS} does not match {CONFIG}",
            got=weight_mismatch(error),
            expected="every weight of Whisper's encoder",
            hint="use a checkpoint of Whisper in transformers' format",
        ) from None
    return model


def reassemble(folder: Path, head: params.Head, classes: int, attention: str) -> AudioClassifier:
    """Return the classifier that a model folder's config describes, without loading its weights.

    Raises:
        ModelError: If it is not Whisper's.
    """
    return AudioClassifier.assemble(read_config(folder), head, classes, attention)


def read_config(folder: Path) -> PreTrainedConfig:
    """Read Whisper's config.json.

    Raises:
        ModelError: If it is another model's.
    """
    config = backbones.read_config(folder)
    if config.model_type != "whisper":
        raise ModelError(
            f"{folder / CONFIG} is not an encoder of sound",
            got=f"model_type {config.model_type}",
            expected="whisper, or a timm architecture",
            hint="choose another base model, or set the kinds of preprocess and tokenize to text",
        )
    return config


def _weights(path: Path) -> dict[str, torch.Tensor]:
    """Return the encoder's weights in a checkpoint, in float32."""
    try:
        whole = load_file(path)
    except (OSError, SafetensorError) as error:
        hint = "run `dvc repro --force download`"
        raise ModelError(f"{path} cannot be loaded", got=error, expected="safetensors", hint=hint) from None
    prefix = next(own for own in PREFIXES if own + "conv1.weight" in whole or not own)
    return {
        name.removeprefix(prefix): value.float() for name, value in whole.items() if name.startswith(prefix)
    }
