"""An exported model of images with texts as an MLflow model, without torch.

MLflow copies this file, the model folder and the Baton modules imported here into the logged model, as for
`pyfunc_image_text`, and runs the file when the model is loaded. onnxruntime or OpenVINO computes the graph
that `export` made; input, output, params and settings are those of `pyfunc_image_text`.

    mlflow.pyfunc.load_model("models:/MODEL_ID").predict([{"image": Path("a.png"), "text": "raw text"}])
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import mlflow.models
import numpy as np
from numpy.typing import NDArray

from baton.contracts.input_spec import ImageTextInput
from baton.engines import engine
from baton.serve import text_reader
from baton.serve.enlarged_images import EnlargedImages
from baton.serve.image_text_answers import ImageTextModel
from baton.serve.text_reader import TextReader
from baton.texts.pair_windows import Read


class ImageTextGraph(ImageTextModel):
    """A graph of two encoders with their head, as the model folder's `baton.json` describes it."""

    def load_context(self, context: Any) -> None:
        """Read the model folder `context.artifacts["model"]`.

        Raises:
            ValueError: If a setting in model_config is invalid.
        """
        folder, info, reads = self.open(context, ImageTextInput)
        self.workers = engine.computing_threads()
        self.reader = EnlargedImages(reads.image, self.limits)
        self.graph = engine.read(info[engine.KEY])
        self.engine = engine.load(self.graph, folder)
        self.text = TextReader(folder / "text", reads.text)

    def logits(
        self, images: Sequence[Any], rows: Sequence[int], threads: ThreadPoolExecutor, read: list[Read]
    ) -> NDArray[np.float32]:
        """See `ImageTextModel`."""
        pixels = self.reader.read(images, rows, threads)
        arrays = text_reader.arrays(read, self.text.reads.pad) | {"pixels": pixels}
        with self.turn:
            return self.engine.run({name: arrays[name] for name in self.graph.inputs})


mlflow.models.set_model(ImageTextGraph())
