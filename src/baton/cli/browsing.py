"""`baton ui`: MLflow's pages on this project's runs."""

import os
import sys
from typing import NoReturn

from baton import console, params
from baton.errors import ParamsError, redacted
from baton.tracking import store


def show(port: int) -> NoReturn:
    """Become MLflow's server for this project's store, which listens on this machine only.

    Raises:
        ParamsError: the runs are on a server, which has pages of its own, or are not recorded.
    """
    settings = params.read().tracking
    uri = settings.uri if isinstance(settings, params.MlflowTracking) else ""
    if uri is not None and not uri.startswith("sqlite:"):
        raise ParamsError(
            "this project has no runs of its own to show",
            got=f"tracking.uri {redacted(uri)}" if uri else "tracking: {kind: off}",
            expected="null, or an SQLite file",
            hint=f"open {redacted(uri)}" if uri else "`tracking: {kind: mlflow, …}` records runs",
        )
    # MLflow 3.17 opens in a mode for language-model apps, without training runs; the address selects the
    # other.
    console.say(f"open http://127.0.0.1:{port}/#/experiments?workflowType=machine_learning")
    os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
    words = ["--backend-store-uri", store.tracking_uri(uri), "--workers", "1", "--host", "127.0.0.1"]
    os.execv(  # noqa: S606  becomes the server
        sys.executable, [sys.executable, "-m", "mlflow", "ui", *words, "--port", str(port)]
    )
