"""What all served models begin with: their limits, the task, and what was fitted. Without torch."""

import json
import threading
from pathlib import Path
from typing import Any, TypeVar

import mlflow.pyfunc

from baton.contracts import fitted_values, input_spec, task_spec
from baton.contracts.input_spec import AudioInput, ImageInput, ImageTextInput, InputSpec, TextInput
from baton.serve import model_settings
from baton.tasks import served_limits, task_figures

Reads = TypeVar("Reads", TextInput, ImageInput, AudioInput, ImageTextInput)
KINDS: dict[type[InputSpec], served_limits.Kind] = {
    TextInput: "text",
    ImageInput: "images",
    AudioInput: "audio",
    ImageTextInput: "image_text",
}


class ServedModel(mlflow.pyfunc.PythonModel):  # type: ignore[name-defined,misc]
    """A model folder that answers requests within limits."""

    def open(self, context: Any, kind: type[Reads]) -> tuple[Path, dict[str, Any], Reads]:
        """Read the settings; return the model folder, the content of its baton.json, and the model's input.

        Args:
            context: MLflow's, with the model folder and the settings.
            kind: what the model reads.

        Raises:
            ValueError: If a setting in model_config is invalid.
        """
        self.limits = served_limits.read(model_settings.limits(context.model_config), KINDS[kind])
        # Of one computation: several together would need several times the memory.
        self.turn = threading.Lock()
        folder = Path(context.artifacts["model"])
        info = json.loads((folder / "baton.json").read_text(encoding="utf-8"))
        self.task = task_figures.of(task_spec.read(info))
        self.fitted = fitted_values.read(info)
        reads = input_spec.read(info["input"], "baton.json: input")
        assert isinstance(reads, kind), "models of other inputs are logged with another file"
        return folder, info, reads
