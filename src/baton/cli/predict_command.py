"""`baton predict`: find the model, check the options, and become the job's process."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from baton import params, tracking
from baton.cli import lifecycle_commands
from baton.errors import ParamsError

REGISTRY = "models:/"


def predict(here: Path, arguments: Sequence[str], options: Mapping[str, Any], threads: int | None) -> None:
    """Run the command; paths are relative to `here`.

    Raises:
        ParamsError: there are too many arguments, or an option is invalid.
    """
    if len(arguments) > 2:
        hint = "quote names with spaces"
        raise ParamsError("too many arguments", got=len(arguments), expected="[MODEL] INPUT", hint=hint)
    source = str(here / arguments[-1])
    # Before a model is fetched: a wrong option must not take minutes.
    from baton.lifecycle.bulk.settings import Options

    checked = Options(model="", source=source, **options)
    model = _model(here, arguments[0] if len(arguments) == 2 else None)
    from baton.lifecycle.bulk import launch

    launch.become(Options(**{**vars(checked), "model": str(model)}), threads)


def _model(here: Path, named: str | None) -> Path:
    """Return the folder of the model: a verified one of the registry, the user's, or that in models/."""
    tracking.prepare()
    if named is not None and named.startswith(REGISTRY):
        with lifecycle_commands.opened_store() as store:
            from baton.lifecycle.serving import launch as served

            return served.prepared(store, named).absolute()
    from baton.lifecycle.bulk import launch

    return (launch.trained(params.read()) if named is None else launch.given(here / named)).absolute()
