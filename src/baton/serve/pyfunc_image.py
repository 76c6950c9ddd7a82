"""An image model as an MLflow model.

MLflow copies this file, the model folder and the Baton modules imported here into the logged model ("models
from code") and runs the file when the model is loaded. In the logged model, these modules belong to a package
of a different name (`tracking.served_code`), so Baton need not be installed, and an installed version has no
effect.

Input: images, each as encoded bytes (PNG, JPEG, HEIC, …), as a base64 string (bare or a `data:` URI) or as a
`pathlib.Path`; a single image, a list, a Series, an array of objects, or a DataFrame whose first column is
called `image`.
Output: a DataFrame with one row per image, as the model's task answers (`tasks.task_figures`) from the logits
and the values fitted on validation, which are in `baton.json`. Params: `batch_size`.

    mlflow.pyfunc.load_model("models:/MODEL_ID").predict([pathlib.Path("image.png")])

Strings are base64, never paths, since a request must not read the server's files; to allow paths, set
SERVING_MODEL_CONFIG='{"serve_paths": true}' of a server, or pass `model_config={"serve_paths": True}` to
`load_model`. `tasks.served_limits` lists the other settings.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import mlflow.models
import numpy as np
import timm
import torch
from numpy.typing import NDArray

from baton.contracts import saved_weights
from baton.contracts.input_spec import ImageInput
from baton.serve import precision
from baton.serve.image_answers import ImageModel
from baton.serve.image_requests import ImageReader


class ImageClassifier(ImageModel):
    """A timm backbone with the head described in the model folder's `baton.json`.

    It runs on a GPU if there is one, in the precision of its model_config.
    """

    def load_context(self, context: Any) -> None:
        """Read the model folder `context.artifacts["model"]`.

        Raises:
            RuntimeError: If the weights do not match the config.
            ValueError: If a setting in model_config is invalid.
        """
        folder, _, reads = self.open(context, ImageInput)
        self.workers = torch.get_num_threads()
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.reader = ImageReader(reads, self.limits, device)
        weights, head = saved_weights.read(folder, device)
        self.head = precision.own_head(head)

        def made(_: torch.dtype) -> Any:
            # config.json also sets the pooling that the head expects.
            backbone = timm.create_model(f"local-dir:{folder}", pretrained=False)
            backbone.load_state_dict(weights)
            return backbone

        computes = precision.resolved(precision.wanted(context.model_config), device)
        self.backbone, self.precision = precision.prepared(made, computes, device, self.reader.tried)

    @torch.no_grad()
    def logits(
        self, images: Sequence[Any], rows: Sequence[int], threads: ThreadPoolExecutor
    ) -> NDArray[np.float32]:
        """See `ImageModel`."""
        pixels = self.reader.read(images, rows, threads)
        with self.turn:
            features = self.backbone(pixels.to(precision.dtype(self.precision)))
            return self.head(features.float()).cpu().numpy()


mlflow.models.set_model(ImageClassifier())
