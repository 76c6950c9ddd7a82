"""A PostgreSQL cluster in a folder of the project: made, run and given MLflow's databases.

It listens on a socket in its own folder and on no network. PostgreSQL refuses to run as root, so for root it
runs as the user `postgres`, to which the folder belongs, and which need not be able to reach it by its path:
the programs get it as an open descriptor.
"""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from baton.cli.server.passwords import Passwords
from baton.errors import OutputError

USER, ROLE = "postgres", "mlflow"  # the user and superuser, and the role that owns MLflow's databases
DATABASES = ("mlflow", "mlflow_auth")
DEBIAN = Path("/usr/lib/postgresql")
SOCKET, LONGEST = ".s.PGSQL.5432", 107  # the socket's name, and the bytes of its path that the kernel takes
START_SECONDS = 120.0  # after a power cut it first replays its log
SETTINGS = {
    "listen_addresses": "",
    "unix_socket_directories": ".",
    "unix_socket_permissions": "0700",
    "max_connections": "200",  # MLflow's four processes keep up to 15 for each of three stores
}


def programs(data: Path) -> Path:
    """Return the folder of PostgreSQL's programs, of the version that made the cluster if there is one.

    Raises:
        OutputError: they are not installed.
    """
    made = data / "PG_VERSION"
    version = made.read_text().strip() if made.is_file() else ""
    on_path = shutil.which("initdb")
    folders = [Path(on_path).resolve().parent] if on_path else []
    folders += sorted(DEBIAN.glob("*/bin"), key=lambda folder: int(folder.parent.name), reverse=True)
    for folder in folders:
        if (folder / "initdb").is_file() and (not version or _version(folder) == version):
            return folder
    raise OutputError(
        "PostgreSQL is not installed",
        got=f"no initdb{f' of version {version}' if version else ''} on PATH or in {DEBIAN}/*/bin",
        expected="its server programs",
        hint=f"apt install postgresql{f'-{version}' if version else ''}",
    )


def _version(folder: Path) -> str:
    """Return the major version of the programs in a folder, from `postgres (PostgreSQL) 15.18 (Debian …)`."""
    told = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=False)
    return told.stdout.split()[2].partition(".")[0]


def create(data: Path, password: str) -> None:
    """Make an empty cluster; the folder gets its name when it is complete.

    Raises:
        OutputError: the path is too long for a socket, or `initdb` failed.
    """
    if len(os.fsencode(data / SOCKET)) > LONGEST:
        hint = f"move the project to a path of at most {LONGEST - len(f'/.baton/server/db/{SOCKET}')} bytes"
        raise OutputError("the project's path is too long for PostgreSQL's socket", got=data, hint=hint)
    program = programs(data) / "initdb"
    words = ["--username", USER, "--auth-local=scram-sha-256", "--auth-host=reject", "--pwfile=/dev/stdin"]
    words += ["--encoding=UTF8", "--locale=C.UTF-8", "--data-checksums"]
    half = data.with_name(f"{data.name}.new")
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir(mode=0o700)
    with _opened(half) as (handle, at), tempfile.TemporaryFile() as file:
        file.write(password.encode())
        file.seek(0)
        if os.geteuid() == 0:
            os.fchown(file.fileno(), *_owner())
            os.chown(half, *_owner())
        pipes = {"stdin": file, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
        with _start([program, "-D", at, *words], handle, **pipes) as process:
            _, told = process.communicate()
    if process.returncode:
        got = " ".join(told.decode(errors="replace").split())
        raise OutputError("PostgreSQL cannot make its files", got=got, expected=f"a cluster in {data}")
    half.rename(data)


@contextlib.contextmanager
def running(data: Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run the cluster; it ends with the block, or with this process.

    Raises:
        OutputError: it does not start.
    """
    settings = [word for name, value in SETTINGS.items() for word in ("-c", f"{name}={value}")]
    with _opened(data) as (handle, at), log.open("ab") as said:
        pipes = {"stdin": subprocess.DEVNULL, "stdout": said, "stderr": said}
        process = _start([programs(data) / "postgres", "-D", at, *settings], handle, **pipes)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _accepts(data):
            if process.poll() is not None or time.monotonic() > deadline:
                raise OutputError(
                    "PostgreSQL does not start", got=f"see {log}", expected=f"a server on {data / SOCKET}"
                )
            time.sleep(0.1)
        yield process
    finally:
        process.send_signal(signal.SIGINT)  # on SIGTERM it waits for its clients
        process.wait()


def prepare(data: Path, own: Passwords) -> None:
    """Make MLflow's role and databases, if they are missing. The role is no superuser."""
    import psycopg
    from psycopg.sql import SQL, Identifier, Literal

    with psycopg.connect(
        host=str(data), user=USER, password=own.postgres, dbname="postgres", autocommit=True
    ) as connection:
        if not connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [ROLE]).fetchall():
            # Only a verifier of the password, so that no log of statements can hold it.
            verifier = connection.pgconn.encrypt_password(
                own.mlflow.encode(), ROLE.encode(), b"scram-sha-256"
            ).decode()
            made = SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(Identifier(ROLE), Literal(verifier))
            connection.execute(made)
        for name in DATABASES:
            if not connection.execute("SELECT FROM pg_database WHERE datname = %s", [name]).fetchall():
                words = Identifier(name), Identifier(ROLE)
                connection.execute(SQL("CREATE DATABASE {} OWNER {}").format(*words))


def _accepts(data: Path) -> bool:
    """Return whether the server takes connections."""
    line = [str(programs(data) / "pg_isready"), "--quiet", "--host", str(data)]
    return subprocess.run(line, check=False).returncode == 0


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[tuple[int, str]]:
    """Yield a descriptor of the folder, and the path by which a program that has it finds the folder."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield handle, f"/proc/self/fd/{handle}"
    finally:
        os.close(handle)


def _start(line: Sequence[str | Path], handle: int, **pipes: Any) -> subprocess.Popen[bytes]:
    """Start a program of PostgreSQL, which ends with this process, with an open folder."""
    prefix = ["setpriv", "--pdeathsig=INT"]
    if os.geteuid() == 0:
        user, group = _owner()
        prefix += [f"--reuid={user}", f"--regid={group}", "--clear-groups"]
    return subprocess.Popen(
        [*prefix, *line],
        cwd="/",
        env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"},
        pass_fds=(handle,),
        start_new_session=True,  # Ctrl-C is for the process that ends it
        **pipes,
    )


def _owner() -> tuple[int, int]:
    try:
        found = pwd.getpwnam(USER)
    except KeyError:
        raise OutputError(
            "PostgreSQL does not run as root",
            got=f"no user {USER}",
            expected="Debian's, as which it runs if root starts it",
            hint="apt install postgresql, or run this as another user",
        ) from None
    return found.pw_uid, found.pw_gid
