"""A classifier on Whisper's encoder as an MLflow model; its input and output are those of `pyfunc_audio`."""

from pathlib import Path

import mlflow.models
import torch
from transformers import AutoConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from baton.contracts.input_spec import AudioInput
from baton.serve.audio_requests import AudioService, Encoder
from baton.sounds import whisper_frames


class WhisperClassifier(AudioService):
    """Whisper's encoder, which pools as `models.audio_model` does."""

    def open_encoder(
        self, folder: Path, _: AudioInput, weights: dict[str, torch.Tensor], device: torch.device
    ) -> Encoder:
        """See `AudioService`."""
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        backbone = WhisperEncoder._from_config(config, dtype=torch.float32)
        backbone.load_state_dict(weights)
        backbone.to(device).eval()

        def encode(pixels: torch.Tensor) -> torch.Tensor:
            states = backbone(whisper_frames.features(pixels)).last_hidden_state
            return whisper_frames.pooled(states, pixels)

        return encode


mlflow.models.set_model(WhisperClassifier())
