"""A timm model of sound as an MLflow model.

MLflow copies this file, the model folder and the Baton modules imported here into the logged model ("models
from code") and runs the file when the model is loaded. In the logged model, these modules belong to a package
of a different name (`tracking.served_code`), so Baton need not be installed, and an installed version has no
effect.

Input: clips of sound, each as encoded bytes (WAV, FLAC, MP3, …), as a base64 string (bare or a `data:` URI)
or as a `pathlib.Path`; a single clip, a list, a Series, an array of objects, or a DataFrame whose first
column is called `audio`.
Output: a DataFrame with one row per clip, as the model's task answers (see `pyfunc_image`). Params:
`batch_size`.

    mlflow.pyfunc.load_model("models:/MODEL_ID").predict([pathlib.Path("clip.flac")])

See `pyfunc_image` for paths, and `tasks.served_limits` for other settings, such as `max_seconds` of one clip.
"""

from pathlib import Path

import mlflow.models
import timm
import torch

from baton.contracts.input_spec import AudioInput
from baton.serve.audio_requests import AudioService, Encoder

WHITE = 255


class AudioClassifier(AudioService):
    """A timm backbone, which reads spectrograms as grey images."""

    def open_encoder(
        self, folder: Path, reads: AudioInput, weights: dict[str, torch.Tensor], device: torch.device
    ) -> Encoder:
        """See `AudioService`."""
        # config.json also sets the pooling that the head expects.
        backbone = timm.create_model(f"local-dir:{folder}", pretrained=False)
        backbone.load_state_dict(weights)
        backbone.to(device).eval()
        mean, std = (torch.tensor(own, device=device) for own in (reads.picture.mean, reads.picture.std))
        shift, scale = WHITE * mean, WHITE * std  # (1,), for values from 0 to 255
        return lambda pixels: backbone((pixels - shift) / scale)


mlflow.models.set_model(AudioClassifier())
