"""A text model as an MLflow model.

MLflow copies this file, the model folder and the Baton modules imported here into the logged model ("models
from code") and runs the file when the model is loaded. In the logged model, these modules belong to a package
of a different name (`tracking.served_code`), so Baton need not be installed, and an installed version has no
effect.

Input: raw texts, as a list of strings, a string, a Series, an array, or a DataFrame whose first column is
called `text`; of models that read pairs of texts, a DataFrame with columns `text` and `text_pair`, or a list
of pairs. Output: a DataFrame with one row per text, as the model's task answers (`tasks.task_figures`)
from the logits and the values fitted on validation, which are in `baton.json`. Params: `batch_size`.

    mlflow.pyfunc.load_model("models:/MODEL_ID").predict(["raw text"])
"""

from typing import Any

import mlflow.models
import numpy as np
import torch
from numpy.typing import NDArray

from baton.contracts import saved_weights
from baton.contracts.input_spec import TextInput
from baton.serve import precision
from baton.serve.text_answers import TextModel
from baton.serve.text_encoder import TextEncoder
from baton.texts.pair_windows import Read


class TextClassifier(TextModel):
    """A transformers encoder with the head described in the model folder's `baton.json`.

    It runs on a GPU if there is one, in the precision of its model_config.
    """

    def load_context(self, context: Any) -> None:
        """Read the model folder `context.artifacts["model"]`.

        Raises:
            RuntimeError: If the weights do not match the config.
            ValueError: If a setting in model_config is invalid.
        """
        folder, info, reads = self.open(context, TextInput)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        weights, head = saved_weights.read(folder, device)
        self.head = precision.own_head(head)
        own = reads, info["head"]["pooling"], weights
        computes = precision.resolved(precision.wanted(context.model_config), device)
        self.encoder: TextEncoder = TextEncoder(folder, *own, device, computes)
        self.precision = self.encoder.precision

    @torch.no_grad()
    def logits(self, read: list[Read]) -> NDArray[np.float32]:
        """See `TextModel`."""
        return self.head(self.encoder.features(read)).cpu().numpy()

    @torch.no_grad()
    def unit_logits(
        self, windows: list[list[int]], kinds: list[list[int]], places: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """See `TextModel`."""
        output, _ = self.encoder.run(windows, kinds)
        flat = torch.from_numpy(places).to(self.encoder.device)
        vectors = output.last_hidden_state.flatten(0, 1).index_select(0, flat).float()  # (units, width)
        return self.head(vectors).cpu().numpy()


mlflow.models.set_model(TextClassifier())
