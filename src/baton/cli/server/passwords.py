"""The server's passwords, made once, in files that only their owner can read."""

import json
import secrets
from dataclasses import dataclass, fields
from pathlib import Path

from baton import temporaries
from baton.errors import OutputError

FILE = "passwords.json"
BYTES = 32


@dataclass(frozen=True)
class Passwords:
    """All of them. Each is 43 characters of `A-Za-z0-9_-`, so that no file or shell has to quote it."""

    postgres: str  # PostgreSQL's superuser
    mlflow: str  # the role that owns MLflow's databases
    admin: str  # MLflow's admin
    baton: str  # MLflow's user for pipelines
    session: str  # MLflow signs the forms of its pages with it


NAMES = tuple(field.name for field in fields(Passwords))


def kept(folder: Path, new: bool) -> Passwords:
    """Return the passwords of the server in `folder`, made at first.

    Args:
        folder: the server's.
        new: it has no database yet.

    Raises:
        OutputError: their file is gone or broken, though there is a database.
    """
    path = folder / FILE
    if new and not path.exists():
        write(path, json.dumps({name: secrets.token_urlsafe(BYTES) for name in NAMES}))
    try:
        return Passwords(**json.loads(path.read_text(encoding="ascii")))
    except (OSError, ValueError, TypeError):
        raise OutputError(
            f"{path} cannot be read",
            got="no file with the server's passwords",
            expected=f"an object with {', '.join(NAMES)}",
            hint=f"restore it from a backup, or remove {folder} with all its runs and models",
        ) from None


def write_settings(folder: Path, own: Passwords, database: str, auth_database: str, uri: str) -> None:
    """Write the files that hand on the passwords: to libpq, to MLflow, and to the user's shell.

    Args:
        folder: the server's.
        own: the passwords.
        database: the role of MLflow in PostgreSQL.
        auth_database: the address of the database with MLflow's users, without a password.
        uri: of the MLflow server.
    """
    write(folder / "pgpass", f"*:*:*:{database}:{own.mlflow}\n")
    settings = {
        "default_permission": "READ",
        "database_uri": auth_database.replace("%", "%%"),
        "admin_username": "admin",
        "admin_password": own.admin,
        "authorization_function": "mlflow.server.auth:authenticate_request_basic_auth",
        # Each request would hash the password again, which takes longer than most requests.
        "auth_cache_ttl_seconds": "60",
    }
    lines = [f"{name} = {value}" for name, value in settings.items()]
    write(folder / "auth.ini", "\n".join(["[mlflow]", *lines, ""]))
    for file, user, password in (("client.env", "baton", own.baton), ("admin.env", "admin", own.admin)):
        variables = {
            "BATON_TRACKING_SERVER": uri,
            "MLFLOW_TRACKING_USERNAME": user,
            "MLFLOW_TRACKING_PASSWORD": password,
        }
        write(folder / file, "".join(f"export {name}={value}\n" for name, value in variables.items()))


def write(path: Path, text: str) -> None:
    """Write a file with mode 0600, atomically."""
    with temporaries.made(path, folder=False) as temporary:  # made with this mode
        temporary.write_text(text, encoding="ascii")
        temporaries.flush(temporary)
        temporary.replace(path)
        temporaries.flush(path.parent)
