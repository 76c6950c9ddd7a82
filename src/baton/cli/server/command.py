"""`baton server`: run MLflow on PostgreSQL until Ctrl-C, and say what to put into params.yaml; or stop it."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from rich.markup import escape

from baton import console, extras, storage
from baton.cli.server import passwords, postgres, users
from baton.errors import OutputError
from baton.processes import ending, locks

STATE, LOCK, HOST = "server", "lock", "127.0.0.1"
START_SECONDS, STOP_SECONDS, POLL_SECONDS = 180.0, 30.0, 0.2


def run(port: int) -> None:
    """Run the server until it is told to stop.

    Raises:
        ParamsError: a package is missing.
        OutputError: it runs already, the port is taken, or one of its two programs does not start or ends.
    """
    extras.require("postgres", "the server", {"psycopg": "psycopg", "flask_wtf": "Flask-WTF"})
    os.umask(0o077)  # for everything that it writes, models too
    folder = storage.state(STATE)
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    with locks.alone(folder / LOCK, "server runs in this project"), _until_stopped():
        _serve(folder, port)


def stop() -> None:
    """Stop this project's server and wait until it is gone.

    Raises:
        OutputError: it is still there after a minute.
    """
    path = storage.state(STATE) / LOCK
    deadline, told = time.monotonic() + 2 * STOP_SECONDS, False
    while path.is_file() and (handle := locks.take(path)) is None:
        process = path.read_text().rpartition(" ")[2]
        if time.monotonic() > deadline:
            raise OutputError("the server does not stop", got=f"process {process} is still there")
        if process and not told:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(process), signal.SIGTERM)
            told = True
        time.sleep(POLL_SECONDS)
    if path.is_file() and handle is not None:
        locks.give(handle)
    console.say("the server has ended" if told else "no server runs in this project")


def _serve(folder: Path, port: int) -> None:
    _check_port(port)
    data = folder / "db"
    own = passwords.kept(folder, new=not data.exists())
    if not data.exists():
        console.say("making a database …")
        postgres.create(data, own.postgres)
    uri = f"http://{HOST}:{port}"
    passwords.write_settings(folder, own, postgres.ROLE, _address(data, postgres.DATABASES[1]), uri)
    with postgres.running(data, folder / "postgres.log") as database:
        postgres.prepare(data, own)
        with _mlflow(folder, port, own.session) as server:
            _wait(server, port, folder)
            users.add(HOST, port, own.admin, own.baton)
            _say(uri, folder)
            while server.poll() is None and database.poll() is None:
                time.sleep(POLL_SECONDS)
    raise OutputError("the server has ended", got=f"see {folder}/*.log", hint="start it again")


@contextlib.contextmanager
def _until_stopped() -> Iterator[None]:
    """End the block quietly on Ctrl-C and SIGTERM."""
    try:
        with ending.sigterm_raises():
            yield
    except KeyboardInterrupt:
        console.say("the server has ended")
    except SystemExit as error:
        if error.code != ending.TERMINATED:
            raise
        console.say("the server has ended")


@contextlib.contextmanager
def _mlflow(folder: Path, port: int, session: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run MLflow's server; it ends with the block, or with this process."""
    words = ["--host", HOST, "--port", str(port), "--app-name", "basic-auth"]
    words += ["--allowed-hosts", f"{HOST}:{port},localhost:{port}"]
    words += ["--artifacts-destination", str(folder / "artifacts")]
    line = ["setpriv", "--pdeathsig=TERM", sys.executable, "-m", "mlflow", "server", *words]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "PG"))}
    own = {
        "MLFLOW_BACKEND_STORE_URI": _address(folder / "db", postgres.DATABASES[0]),
        "MLFLOW_AUTH_CONFIG_PATH": str(folder / "auth.ini"),
        "MLFLOW_FLASK_SERVER_SECRET_KEY": session,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # of its functions for language models
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PGPASSFILE": str(folder / "pgpass"),
    }
    with (folder / "mlflow.log").open("ab") as log:
        pipes = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
        process = subprocess.Popen(line, cwd=folder, env=kept | own, start_new_session=True, **pipes)  # type: ignore[call-overload]
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        finally:  # what is left of it
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _address(data: Path, database: str) -> str:
    """Return a database's address, which holds no password: libpq reads it from `PGPASSFILE`."""
    where = f"host={quote(str(data), safe='')}&port={postgres.PORT}"
    return f"postgresql+psycopg://{postgres.ROLE}@/{database}?{where}"


def _check_port(port: int) -> None:
    with socket.socket() as own:
        own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            own.bind((HOST, port))
        except OSError as error:
            raise OutputError(
                f"port {port} cannot be used",
                got=error.strerror,
                expected="a free port",
                hint="make server PORT=5001",
            ) from None


def _wait(server: subprocess.Popen[bytes], port: int, folder: Path) -> None:
    """Wait until MLflow answers; on its first start it makes its tables."""
    deadline = time.monotonic() + START_SECONDS
    while not users.answers(HOST, port):
        if server.poll() is not None or time.monotonic() > deadline:
            raise OutputError(
                "MLflow does not start", got=f"see {folder}/mlflow.log", expected=f"a server on port {port}"
            )
        time.sleep(POLL_SECONDS)


def _say(uri: str, folder: Path) -> None:
    where = escape(os.path.relpath(folder))
    console.say(f"MLflow runs at {uri}; Ctrl-C or `make server-stop` ends it")
    console.say("in params.yaml:")
    console.say(f"    tracking: {{kind: mlflow, uri: {uri}, experiment: NAME}}")
    console.say("in each shell in which Baton's commands run:")
    console.say(f"    . {where}/client.env")
    console.say(
        "it sets MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD of the user `baton`; "
        f"the admin's are in {where}/admin.env"
    )
