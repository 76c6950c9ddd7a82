"""Who works on what: locks that end with the worker that holds them, however it ends.

Workers of one machine lock files; workers of several machines hold advisory locks of their PostgreSQL server,
which end with the connection. So a trial that is marked as running and whose lock is free belongs to a dead
worker, and the next one takes it up. No clock is compared.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from baton.errors import OutputError
from baton.processes import locks

if TYPE_CHECKING:
    from sqlalchemy import Connection

Release = Callable[[], None]
ALIVE = {
    "tcp_keepalives_idle": 30,
    "tcp_keepalives_interval": 10,
    "tcp_keepalives_count": 3,
}  # seconds; tries


class Claims(Protocol):
    """The locks of one study."""

    def take(self, name: str) -> Release | None:
        """Return what gives the lock back, once; None if another worker holds it."""
        ...

    def held(self, name: str) -> AbstractContextManager[None]:
        """Hold a lock for a moment, waiting for it."""
        ...


class FileClaims:
    """Locks on files of a folder."""

    def __init__(self, folder: Path) -> None:
        """The folder is created."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder

    def take(self, name: str) -> Release | None:
        """See `Claims`."""
        handle = locks.take(self.folder / name)
        if handle is None:
            return None
        mine = [handle]
        return lambda: locks.give(mine.pop()) if mine else None

    @contextmanager
    def held(self, name: str) -> Iterator[None]:
        """See `Claims`."""
        handle = locks.take(self.folder / name, wait=True)
        if handle is None:
            raise OutputError(
                f"{self.folder / name} cannot be locked",
                got="its folder is gone",
                expected="a folder that stays while workers run",
                hint="run the command again",
            )
        try:
            yield
        finally:
            locks.give(handle)


class ServerClaims:
    """Advisory locks of a PostgreSQL server, on a connection of their own."""

    def __init__(self, connection: "Connection", study: str) -> None:
        """`connection` commits by itself; `study` tells its locks from those of other studies.

        The server is told to look every half minute whether this machine is still there.
        """
        self.connection, self.study = connection, study
        self.mine: set[int] = set()
        for key, value in ALIVE.items():
            self._ask(f"SELECT set_config('{key}', '{value}', false)")

    def take(self, name: str) -> Release | None:
        """See `Claims`. A lock that this connection holds already is not taken twice."""
        number = self._number(name)
        if number in self.mine or not self._ask(f"SELECT pg_try_advisory_lock({number})"):
            return None
        self.mine.add(number)
        return lambda: self._give(number)

    @contextmanager
    def held(self, name: str) -> Iterator[None]:
        """See `Claims`."""
        number = self._number(name)
        self._ask(f"SELECT pg_advisory_lock({number})")
        try:
            yield
        finally:
            self._ask(f"SELECT pg_advisory_unlock({number})")

    def _give(self, number: int) -> None:
        if number in self.mine:
            self.mine.remove(number)
            self._ask(f"SELECT pg_advisory_unlock({number})")

    def _number(self, name: str) -> int:
        """Return the number of a lock: 64 bits, with a sign."""
        digest = hashlib.sha256(f"baton tune {self.study} {name}".encode()).digest()
        return int.from_bytes(digest[:8], "big", signed=True)

    def _ask(self, query: str) -> object:
        return self.connection.exec_driver_sql(query).scalar()
