"""An exported text model as an MLflow model, without torch.

MLflow copies this file, the model folder and the Baton modules imported here into the logged model, as for
`pyfunc`, and runs the file when the model is loaded. onnxruntime or OpenVINO computes the graph that `export`
made; input, output and params are those of `pyfunc`.

    mlflow.pyfunc.load_model("models:/MODEL_ID").predict(["raw text"])
"""

from typing import Any

import mlflow.models
import numpy as np
from numpy.typing import NDArray

from baton.contracts.input_spec import TextInput
from baton.engines import engine
from baton.serve import text_reader
from baton.serve.text_answers import TextModel
from baton.serve.text_reader import TextReader
from baton.texts.pair_windows import Read


class TextGraph(TextModel):
    """A graph of an encoder with its head, as the model folder's `baton.json` describes it."""

    def load_context(self, context: Any) -> None:
        """Read the model folder `context.artifacts["model"]`.

        Raises:
            ValueError: If a setting in model_config is invalid.
        """
        folder, info, reads = self.open(context, TextInput)
        self.graph = engine.read(info[engine.KEY])
        self.engine = engine.load(self.graph, folder)
        self.encoder = TextReader(folder, reads)

    def logits(self, read: list[Read]) -> NDArray[np.float32]:
        """See `TextModel`."""
        arrays = text_reader.arrays(read, self.encoder.reads.pad)
        return self.engine.run({name: arrays[name] for name in self.graph.inputs})

    def unit_logits(
        self, windows: list[list[int]], kinds: list[list[int]], places: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """See `TextModel`."""
        logits = self.logits([Read(windows, kinds, 0)])  # (windows, length, width)
        return logits.reshape(-1, logits.shape[-1])[places]


mlflow.models.set_model(TextGraph())
