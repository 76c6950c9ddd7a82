"""An exported model of sound as an MLflow model, without torch.

MLflow copies this file, the model folder and the Baton modules imported here into the logged model, as for
`pyfunc_audio`, and runs the file when the model is loaded. onnxruntime or OpenVINO computes the graph that
`export` made; input, output, params and settings are those of `pyfunc_audio`.

    mlflow.pyfunc.load_model("models:/MODEL_ID").predict([pathlib.Path("clip.flac")])
"""

from typing import Any

import mlflow.models

from baton.contracts.input_spec import AudioInput
from baton.engines import engine
from baton.serve.audio_answers import AudioModel, Floats


class AudioGraph(AudioModel):
    """A graph of an encoder with its head, as the model folder's `baton.json` describes it."""

    def load_context(self, context: Any) -> None:
        """Read the model folder `context.artifacts["model"]`.

        Raises:
            ValueError: If a setting in model_config is invalid.
        """
        folder, info, self.reads = self.open(context, AudioInput)
        self.workers = engine.computing_threads()
        self.engine = engine.load(engine.read(info[engine.KEY]), folder)

    def logits(self, pixels: Floats) -> Floats:
        """See `AudioModel`."""
        return self.engine.run({"pixels": pixels})


mlflow.models.set_model(AudioGraph())
