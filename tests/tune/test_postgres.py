"""A study in PostgreSQL: the same trials as in a file, and trials of a worker whose connection is gone."""

import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from baton import params
from baton.errors import OutputError
from baton.tune import storages, study
from baton.tune.claims import ServerClaims
from tests.tune import made_up
from tests.tune.made_up import asked, finish, open_study, told

SERVERS = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not SERVERS, reason="no PostgreSQL: apt install postgresql"),
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning"),
]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A server on a socket in a folder of its own; PostgreSQL does not run as root."""
    folder = Path("/tmp") / f"baton-postgres-{os.getpid()}"
    folder.mkdir()
    user = []
    if os.geteuid() == 0:
        own = pwd.getpwnam("postgres")
        os.chown(folder, own.pw_uid, own.pw_gid)
        user = ["setpriv", f"--reuid={own.pw_uid}", f"--regid={own.pw_gid}", "--clear-groups"]
    programs, data = SERVERS[-1].parent, folder / "data"
    made = [*user, programs / "initdb", "-D", data, "-U", "baton", "-A", "trust", "--no-sync"]
    subprocess.run(made, check=True, stdout=subprocess.DEVNULL, cwd=folder)
    command = [*user, programs / "postgres", "-D", data, "-k", folder, "-c", "listen_addresses="]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, cwd=folder) as process:
        deadline = time.monotonic() + 60
        while not list(folder.glob(".s.PGSQL.*")):
            assert process.poll() is None and time.monotonic() < deadline, "the server does not start"
            time.sleep(0.1)
        yield f"postgresql://baton@/postgres?host={folder}"
        process.send_signal(signal.SIGINT)  # on SIGTERM it waits for its clients
    shutil.rmtree(folder)


@pytest.fixture(autouse=True)
def _named(monkeypatch: pytest.MonkeyPatch, server: str) -> Iterator[None]:
    """Studies of `made_up` are told apart by the file that they would have; connections are closed."""
    found: list[Any] = []

    def opened(path: Path, own: params.Tune, name: str = "made") -> study.Study:
        found.append(open_study(server, own, path.name))
        return found[-1]  # type: ignore[no-any-return]

    monkeypatch.setattr(made_up, "open_study", opened)
    yield
    for own in found:
        own.claims.connection.close()
        own.claims.connection.engine.dispose()
        own.trials_kept._storage._backend.engine.dispose()


def test_as_in_a_file(tmp_path: Path) -> None:
    there = finish(tmp_path / "there", asked(), workers=3, kills=0.2, seed=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(made_up, "open_study", open_study)
        here = finish(tmp_path / "here", asked())
    assert told(there.trials) == told(here.trials) and there.winner() == here.winner()


def test_the_trial_of_a_worker_whose_connection_is_gone(tmp_path: Path) -> None:
    own = asked(trials=1)
    first, second = (made_up.open_study(tmp_path / "gone", own) for _ in range(2))
    assert first.next(made_up.RECIPE) is not None and second.next(made_up.RECIPE) is None
    assert isinstance(first.claims, ServerClaims)
    first.claims.connection.close()
    first.claims.connection.engine.dispose()
    found = second.next(made_up.RECIPE)
    assert found is not None and found.number == 0
    assert [one.state for one in second.trials] == [TrialState.RUNNING]


def test_a_server_that_refuses_is_one_error(server: str) -> None:
    with pytest.raises(OutputError, match="PGPASSWORD"):
        storages.opened(server.replace("/postgres", "/nothing"), "x")
