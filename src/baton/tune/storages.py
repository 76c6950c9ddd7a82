"""Where a study is kept: Optuna's journal in a file, or a PostgreSQL server.

Input: what `--storage` says -> Optuna's storage, and the locks that go with it.
"""

import json
import os
import re
from pathlib import Path

from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.storages.journal._file import BaseJournalFileLock

from baton import extras, storage
from baton.errors import OutputError, ParamsError, one_line, redacted
from baton.processes import locks
from baton.tune.claims import Claims, FileClaims, ServerClaims

STATE = "tune"  # the folder in the project's state
JOURNAL = "journal.log"
SERVER = re.compile(r"postgres(ql)?(\+psycopg)?://")


class Flock(BaseJournalFileLock):
    """A lock on a file beside the journal, which ends with its process; Optuna's own outlives it."""

    def __init__(self, path: Path) -> None:
        """`path` is created."""
        self.path, self.handle = path, -1

    def acquire(self) -> bool:
        """Wait for the lock."""
        handle = locks.take(self.path, wait=True)
        if handle is None:
            raise OutputError(f"{self.path} cannot be locked", got="no such folder", expected="a folder")
        self.handle = handle
        return True

    def release(self) -> None:
        """Give the lock back."""
        locks.give(self.handle)


def opened(where: str | None, study: str) -> tuple[BaseStorage, Claims]:
    """Return the storage of a study, and its locks.

    Args:
        where: the path of a file, or the address of a PostgreSQL database; None: a file in the project's
            state.
        study: its name.

    Raises:
        ParamsError: it is neither, or holds a password.
        OutputError: the file or the server cannot be used.
    """
    if where is not None and "://" in where:
        return _server(where, study)
    path = Path(where) if where is not None else storage.state(STATE) / JOURNAL
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = Flock(path.with_name(f"{path.name}.lock"))
        _mend(path, lock)
        kept = JournalStorage(JournalFileBackend(str(path), lock))
    except (OSError, ValueError, KeyError) as error:
        raise OutputError(
            f"the study's file {path} cannot be used",
            got=one_line(str(error)),
            expected="a journal that `baton tune` wrote, or a path where one can be",
            hint="name another file with --storage",
        ) from None
    return kept, FileClaims(path.with_name(f"{path.name}.claims") / study)


def _mend(path: Path, lock: Flock) -> None:
    """Remove the torn last line that the end of a machine may leave: Optuna would append to it.

    Raises:
        ValueError: the file is no journal.
    """
    lock.acquire()
    try:
        content = path.read_bytes() if path.is_file() else b""
        whole = content.rfind(b"\n") + 1
        if whole and "op_code" not in json.loads(content[: content.find(b"\n")]):
            raise ValueError("it is no journal of Optuna")
        if whole < len(content):
            os.truncate(path, whole)
    finally:
        lock.release()


def _server(address: str, study: str) -> tuple[BaseStorage, Claims]:
    from sqlalchemy import create_engine
    from sqlalchemy.exc import SQLAlchemyError

    engine = create_engine(_address(address), isolation_level="AUTOCOMMIT")
    try:
        claims = ServerClaims(engine.connect(), study)
        with claims.held("tables"):  # which two workers cannot create at the same time
            kept = RDBStorage(_address(address), engine_kwargs={"pool_pre_ping": True})
    except (SQLAlchemyError, OSError) as error:
        raise OutputError(
            "the study's database cannot be used",
            got=redacted(one_line(str(error)))[:300],
            expected=f"a PostgreSQL server at {redacted(address)}",
            hint="is it up, and may this user log in (PGPASSWORD or ~/.pgpass)?",
        ) from None
    return kept, claims


def _address(given: str) -> str:
    """Return a database's address with the driver that is installed."""
    if not SERVER.match(given):
        raise ParamsError(
            "--storage cannot be used",
            got=redacted(given),
            expected="the path of a file, or postgresql://HOST/DATABASE",
            hint="workers of one machine need no server: leave --storage out",
        )
    if re.match(r"[^/]*//[^/@]*:[^/@]*@", given):
        raise ParamsError(
            "--storage holds a password, which other users of this machine can see",
            got=redacted(given),
            expected="postgresql://HOST/DATABASE",
            hint="give it by PGPASSWORD in the environment, or in ~/.pgpass",
        )
    extras.require("postgres", "a study in PostgreSQL", {"psycopg": "psycopg"})
    return SERVER.sub("postgresql+psycopg://", given)
