"""An exported image model as an MLflow model, without torch.

MLflow copies this file, the model folder and the Baton modules imported here into the logged model, as for
`pyfunc_image`, and runs the file when the model is loaded. onnxruntime or OpenVINO computes the graph that
`export` made; input, output, params and settings are those of `pyfunc_image`.

    mlflow.pyfunc.load_model("models:/MODEL_ID").predict([pathlib.Path("image.png")])
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import mlflow.models
import numpy as np
from numpy.typing import NDArray

from baton.contracts.input_spec import ImageInput
from baton.engines import engine
from baton.serve.enlarged_images import EnlargedImages
from baton.serve.image_answers import ImageModel


class ImageGraph(ImageModel):
    """A graph of an encoder with its head, as the model folder's `baton.json` describes it."""

    def load_context(self, context: Any) -> None:
        """Read the model folder `context.artifacts["model"]`.

        Raises:
            ValueError: If a setting in model_config is invalid.
        """
        folder, info, reads = self.open(context, ImageInput)
        self.workers = engine.computing_threads()
        self.reader = EnlargedImages(reads, self.limits)
        self.engine = engine.load(engine.read(info[engine.KEY]), folder)

    def logits(
        self, images: Sequence[Any], rows: Sequence[int], threads: ThreadPoolExecutor
    ) -> NDArray[np.float32]:
        """See `ImageModel`."""
        pixels = self.reader.read(images, rows, threads)
        with self.turn:
            return self.engine.run({"pixels": pixels})


mlflow.models.set_model(ImageGraph())
