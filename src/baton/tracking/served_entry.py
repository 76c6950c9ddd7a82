"""What a logged model consists of beside its model folder: code, requirements, settings. Without mlflow."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from baton import params, storage
from baton.tracking import environment, served_code, served_inputs


def of_folder(path: Path, known: Mapping[str, Any]) -> dict[str, Any]:
    """Return baton.json, requirements, code and model_config of a model folder.

    Args:
        path: the model folder.
        known: settings that params have (`known_settings`).

    Raises:
        TrackingError: requirements.lock does not pin what the model needs.
    """
    info = storage.read_json(path / "baton.json")
    how = served_inputs.of_folder(path)
    return {
        "info": info,
        "requirements": environment.read_requirements(environment.LOCKS, how.packages),
        "code": served_code.served(how.main),
        "config": served_inputs.settings(info, known),
    }


def known_settings(prepared: Any) -> dict[str, Any]:
    """Return what the params section `preprocess` says of a served model's limits."""
    match prepared:
        case params.ImagePreprocess():
            return {"max_pixels": prepared.max_pixels}
        case params.ImageTextPreprocess():
            return {"max_pixels": prepared.max_pixels, "accept_empty": prepared.checks.empty == "keep"}
        case params.AudioPreprocess():
            return {"max_seconds": prepared.max_seconds}
        case _:
            return {"accept_empty": prepared.checks.empty == "keep"}
