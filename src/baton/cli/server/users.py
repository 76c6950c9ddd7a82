"""MLflow's users: `baton`, which pipelines use, is no admin."""

import base64
import http.client
import json
from typing import Any

from baton.errors import TrackingError

ADMIN, PIPELINES = "admin", "baton"
API = "/api/2.0/mlflow/users"
SECONDS = 30.0


def answers(host: str, port: int) -> bool:
    """Return whether the server is up."""
    try:
        return _status(host, port, "GET", "/health") == 200
    except (OSError, http.client.HTTPException):
        return False


def add(host: str, port: int, admin: str, password: str) -> None:
    """Make the user for pipelines, if it is missing; `admin` and `password` are the two passwords.

    Raises:
        TrackingError: MLflow does not take the admin's password, or does not make the user.
    """
    status = _status(host, port, "GET", f"{API}/get?username={PIPELINES}", admin)
    if status == 404:
        body = {"username": PIPELINES, "password": password}
        status = _status(host, port, "POST", f"{API}/create", admin, body)
    if status != 200:
        raise TrackingError(
            "MLflow does not make its users",
            got=f"status {status}",
            expected="200, with the admin's password in passwords.json",
            hint="if the password was changed in MLflow, change it there too",
        )


def _status(
    host: str, port: int, method: str, path: str, password: str = "", body: dict[str, Any] | None = None
) -> int:
    headers = {"Content-Type": "application/json"}
    if password:
        login = base64.b64encode(f"{ADMIN}:{password}".encode()).decode()
        headers["Authorization"] = f"Basic {login}"
    connection = http.client.HTTPConnection(host, port, timeout=SECONDS)
    try:
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        return connection.getresponse().status
    finally:
        connection.close()
