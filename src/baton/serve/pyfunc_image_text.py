"""A model of images with texts as an MLflow model.

MLflow copies this file, the model folder and the Baton modules imported here into the logged model ("models
from code") and runs the file when the model is loaded. In the logged model, these modules belong to a package
of a different name (`tracking.served_code`), so Baton need not be installed, and an installed version has no
effect.

Input: a DataFrame with the columns `image` (encoded bytes, a base64 string or a `pathlib.Path`) and `text`,
or a list of dicts with these keys. A row needs both: one without an image or without a text is refused.
Output: a DataFrame with one row per input, as the model's task answers. Params: `batch_size`.

    mlflow.pyfunc.load_model("models:/MODEL_ID").predict(pandas.DataFrame({"image": …, "text": …}))

See `pyfunc_image` for paths and settings.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import mlflow.models
import numpy as np
import timm
import torch
from numpy.typing import NDArray
from torch.nn import functional

from baton.contracts import saved_weights
from baton.contracts.input_spec import ImageTextInput
from baton.serve import precision
from baton.serve.image_requests import ImageReader
from baton.serve.image_text_answers import COLUMNS, ImageTextModel
from baton.serve.text_encoder import TextEncoder
from baton.texts.pair_windows import Read


class ImageTextClassifier(ImageTextModel):
    """Two encoders with the head described in the model folder's `baton.json`.

    It runs on a GPU if there is one, in the precision of its model_config.
    """

    def load_context(self, context: Any) -> None:
        """Read the model folder `context.artifacts["model"]`.

        Raises:
            RuntimeError: If the weights do not match the configs.
            ValueError: If a setting in model_config is invalid.
        """
        folder, info, reads = self.open(context, ImageTextInput)
        self.workers = torch.get_num_threads()
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        weights, head = saved_weights.read(folder, device)
        self.head = precision.own_head(head)
        parts = {name: _part(weights, f"{name}.backbone.") for name in COLUMNS}
        self.reader = ImageReader(reads.image, self.limits, device)

        def made(_: torch.dtype) -> Any:
            # config.json also sets the pooling that the head expects.
            backbone = timm.create_model(f"local-dir:{folder / 'image'}", pretrained=False)
            backbone.load_state_dict(parts["image"])
            return backbone

        computes = precision.resolved(precision.wanted(context.model_config), device)
        self.image, self.precision = precision.prepared(made, computes, device, self.reader.tried)
        own = reads.text, info["head"]["pooling"], parts["text"]
        self.text: TextEncoder = TextEncoder(folder / "text", *own, device, computes)
        norms = _part(weights, "norms.")
        self.norms = {name: tensor.to(device) for name, tensor in norms.items()}

    @torch.no_grad()
    def logits(
        self, images: Sequence[Any], rows: Sequence[int], threads: ThreadPoolExecutor, read: list[Read]
    ) -> NDArray[np.float32]:
        """See `ImageTextModel`."""
        pixels = self.reader.read(images, rows, threads)
        with self.turn:
            features = {
                "image": self.image(pixels.to(precision.dtype(self.precision))).float(),
                "text": self.text.features(read),
            }
            fused = torch.cat([self._normed(name, features[name]) for name in COLUMNS], dim=1)
            return self.head(fused).cpu().numpy()  # (batch, width)

    def _normed(self, name: str, features: torch.Tensor) -> torch.Tensor:
        weight, bias = (self.norms[f"{name}.{part}"] for part in ("weight", "bias"))
        return functional.layer_norm(features, (features.shape[1],), weight, bias)


def _part(weights: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): own for name, own in weights.items() if name.startswith(prefix)}


mlflow.models.set_model(ImageTextClassifier())
