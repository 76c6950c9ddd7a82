"""The one MLflow server that a job may talk to, named in its environment and not in params.

A job in CI holds the server's credentials, and params come from a commit, or from whoever starts the job.
"""

import os
from urllib.parse import urlsplit

from baton.errors import TrackingError

SERVER = "BATON_TRACKING_SERVER"  # https://mlflow.example.org
PORTS = {"http": 80, "https": 443}


def check(uri: str) -> None:
    """Refuse a store other than the one that the environment names, if it names one.

    Raises:
        TrackingError: it is another scheme, host or port.
    """
    pinned = os.environ.get(SERVER)
    if pinned and _origin(uri) != _origin(pinned):
        raise TrackingError(
            f"tracking.uri is not the server that {SERVER} names",
            got=_shown(uri),
            expected=_shown(pinned),
            hint=f"correct tracking.uri, or {SERVER} where the job is defined",
        )


def _origin(uri: str) -> tuple[str, str, int | None]:
    parts = urlsplit(uri)
    try:
        port = parts.port
    except ValueError:
        port = -1
    return parts.scheme, parts.hostname or "", port or PORTS.get(parts.scheme)


def _shown(uri: str) -> str:
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
