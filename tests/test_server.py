"""`baton server`: who may log in, what it leaves behind, and Baton's work against it as the user `baton`."""

import base64
import http.client
import json
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from baton import params
from baton.cli.server import command, passwords, postgres
from baton.errors import DataError, ModelError, OutputError
from tests.test_pipeline import BATON, Project
from tests.test_retrain import World, count_runs, small

NO_SERVER = not shutil.which("initdb") and not list(postgres.DEBIAN.glob("*/bin/initdb"))
installed = pytest.mark.skipif(NO_SERVER, reason="no PostgreSQL: apt install postgresql")
WRITERS, POINTS = 8, 1000
API = "/api/2.0/mlflow/"
READ = f"{API}experiments/get?experiment_id=0"
WRITE = """
import sys
from baton import params
from baton.tracking.store import Point, open_store
uri, run, name = sys.argv[1:]
store = open_store(params.MlflowTracking(kind="mlflow", uri=uri, experiment="writers"))
points = [Point(run, f"loss/{name}", step / 7, step, 1_700_000_000_000 + step) for step in range(1000)]
for start in range(0, 1000, 50):
    store.send(points[start : start + 50])
store.send(points[:500])  # again, as after an answer that was lost
"""


class Server:
    """`baton server` in a project of its own."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        (folder / "dvc.yaml").write_text("stages: {}\n")
        self.folder, self.state = folder, folder / ".baton/server"
        with socket.create_server((command.HOST, 0)) as free:
            self.port = free.getsockname()[1]
        self.uri = f"http://{command.HOST}:{self.port}"
        self.process: subprocess.Popen[str] | None = None
        self.rest = ""  # what it said after it ran

    def start(self) -> str:
        """Start it; return what it says until it runs."""
        line = [*BATON, "server", "--port", str(self.port)]
        self.process = subprocess.Popen(
            line, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert self.process.stdout is not None
        told = ""
        for text in self.process.stdout:
            told += text
            if "admin.env" in text:
                return told
        raise AssertionError(told + "".join(path.read_text()[-2000:] for path in self.state.glob("*.log")))

    def stop(self) -> str:
        done = subprocess.run(
            [*BATON, "server", "--stop"], cwd=self.folder, capture_output=True, text=True, check=True
        )
        if self.process is not None and self.process.returncode is None:
            self.rest, _ = self.process.communicate()
        return done.stdout

    def login(self, user: str) -> dict[str, str]:
        """Return the variables of a file such as `client.env`."""
        lines = (self.state / f"{user}.env").read_text().splitlines()
        return dict(line.removeprefix("export ").split("=", 1) for line in lines)

    def descendants(self) -> list[psutil.Process]:
        assert self.process is not None
        return psutil.Process(self.process.pid).children(recursive=True)

    def status(
        self, user: str | None, password: str = "", host: str | None = None, **more: Any
    ) -> tuple[int, bytes]:
        """Ask for an experiment, or what `more` says; return the status and the body of the answer."""
        headers = {"Host": host or f"{command.HOST}:{self.port}", "Content-Type": "application/json"}
        if user is not None:
            headers["Authorization"] = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        connection = http.client.HTTPConnection(command.HOST, self.port, timeout=60)
        connection.request(more.get("method", "GET"), more.get("path", READ), more.get("body"), headers)
        answer = connection.getresponse()
        found = answer.status, answer.read()
        connection.close()
        return found


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("server") / "project")
    told = made.start()
    assert f"tracking: {{kind: mlflow, uri: {made.uri}, experiment: NAME}}" in told
    assert ". .baton/server/client.env" in told
    yield made
    made.stop()


@pytest.fixture
def _logged_in(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in server.login("client").items():
        monkeypatch.setenv(name, value)


def test_passwords_are_made_once_and_only_their_owner_reads_them(tmp_path: Path) -> None:
    own = passwords.kept(tmp_path, new=True)
    assert passwords.kept(tmp_path, new=True) == passwords.kept(tmp_path, new=False) == own
    passwords.write_settings(tmp_path, own, "mlflow", "postgresql+psycopg://mlflow@/a?host=%2Fb", "http://x")
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}
    assert "host=%%2Fb" in (tmp_path / "auth.ini").read_text(), "its parser replaces what follows a %"
    (tmp_path / passwords.FILE).write_text("{}")
    with pytest.raises(OutputError, match="restore it from a backup"):
        passwords.kept(tmp_path, new=True)


def test_a_database_without_its_passwords_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"passwords\.json cannot be read"):
        passwords.kept(tmp_path, new=False)


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OutputError, match="too long for PostgreSQL's socket"):
        postgres.create(tmp_path / ("x" * 100) / "db", "")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(postgres, "DEBIAN", tmp_path)
    with pytest.raises(OutputError, match="apt install postgresql"):
        postgres.programs(tmp_path / "db")


def test_a_port_in_use_is_one_error(tmp_path: Path) -> None:
    with socket.create_server((command.HOST, 0)) as used:
        port = used.getsockname()[1]
        with pytest.raises(OutputError, match=f"port {port} cannot be used"):
            command._check_port(port)


@pytest.mark.usefixtures("quiet_mlflow")
@pytest.mark.parametrize("there", [False, True])
def test_a_model_that_a_server_with_logins_denies_since_it_is_not_there(there: bool) -> None:
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import PERMISSION_DENIED

    from baton.lifecycle.registry import Registry

    class Client:
        tracking_uri = "http://127.0.0.1:1"

        def get_model_version_by_alias(self, name: str, alias: str) -> None:
            raise MlflowException(f"Permission denied: {name} {alias}", PERMISSION_DENIED)

        def search_registered_models(self, condition: str) -> list[str]:
            assert condition == "name = 'story'"
            return ["story"] if there else []

    registry = Registry(SimpleNamespace(client=Client()), "story")  # type: ignore[arg-type]
    if there:
        with pytest.raises(MlflowException, match="Permission denied"):
            registry.alias("champion")
    else:
        assert registry.alias("champion") is None


@pytest.mark.slow
@installed
def test_only_a_login_and_an_allowed_host_get_an_answer(server: Server) -> None:
    own, admin = server.login("client"), server.login("admin")
    name, secret = own["MLFLOW_TRACKING_USERNAME"], own["MLFLOW_TRACKING_PASSWORD"]
    assert (name, own["BATON_TRACKING_SERVER"]) == ("baton", server.uri)
    assert server.status(name, secret)[0] == 200
    assert server.status("admin", admin["MLFLOW_TRACKING_PASSWORD"])[0] == 200
    for user, password in ((None, ""), (name, ""), (name, "wrong"), ("admin", secret), ("nobody", secret)):
        status, body = server.status(user, password)
        assert status == 401 and b"experiment" not in body, (user, body)
    for host in ("evil.example", f"evil.example:{server.port}", "127.0.0.1:1", f"10.0.0.1:{server.port}"):
        status, body = server.status(name, secret, host)
        assert status == 403 and b"experiment" not in body, (host, body)
    others = ("/", "/version", "/api/2.0/mlflow-artifacts/artifacts?path=0", f"{API}registered-models/search")
    for path in (*others, "/api/2.0/mlflow-artifacts/artifacts/0/x", "/ajax-api/2.0/mlflow/users/current"):
        assert server.status(None, path=path)[0] == 401, path
    body = json.dumps({"username": "more", "password": "twelve-letters"})
    assert server.status(name, secret, method="POST", path=f"{API}users/create", body=body)[0] == 403
    assert server.status(None, method="POST", path=f"{API}users/create", body=body)[0] == 401


@pytest.mark.slow
@installed
def test_it_listens_on_this_machine_only(server: Server) -> None:
    programs = {process.name() for process in server.descendants()}
    assert "postgres" in programs and any(name.startswith("python") for name in programs)
    found = [one for process in server.descendants() for one in process.net_connections("inet")]
    listening = {one.laddr for one in found if one.status == psutil.CONN_LISTEN}
    assert listening == {(command.HOST, server.port)}, "PostgreSQL has a socket in its folder alone"
    for addresses in psutil.net_if_addrs().values():
        for one in addresses:
            if one.family == socket.AF_INET and one.address != command.HOST:
                with pytest.raises(OSError), socket.create_connection((one.address, server.port), timeout=2):
                    pass


@pytest.mark.slow
@installed
@pytest.mark.usefixtures("_logged_in")
def test_no_password_is_shown(server: Server) -> None:
    import mlflow

    mlflow.set_tracking_uri(server.uri)
    mlflow.set_experiment("files")
    with mlflow.start_run():
        mlflow.log_text("wheat", "text.txt")
    for path in (server.state, *server.state.rglob("*")):
        assert stat.S_IMODE(path.lstat().st_mode) & 0o077 == 0 or path.is_socket(), path
    known = json.loads((server.state / passwords.FILE).read_text())
    assert len(set(known.values())) == len(passwords.NAMES) and min(map(len, known.values())) == 43
    lines = [" ".join(process.cmdline()) for process in server.descendants()]
    lines += [path.read_text() for path in server.state.glob("*.log")]
    assert not [name for name, value in known.items() for text in lines if value in text]


@pytest.mark.slow
@installed
@pytest.mark.usefixtures("_logged_in", "quiet_mlflow")
def test_every_metric_of_writers_at_the_same_time_is_there_once(server: Server) -> None:
    import psycopg

    from baton.tracking.store import open_store

    store = open_store(params.MlflowTracking(kind="mlflow", uri=server.uri, experiment="writers"))
    runs = [store.create_run(name, {}, 1_700_000_000_000) for name in ("one", "two")]
    commands = [
        [sys.executable, "-c", WRITE, server.uri, runs[number % 2], str(number)] for number in range(WRITERS)
    ]
    writing = [subprocess.Popen(line, stderr=subprocess.PIPE, text=True) for line in commands]
    for process in writing:
        _, told = process.communicate(timeout=300)
        assert process.returncode == 0, told
    for number in range(WRITERS):
        history = store.client.get_metric_history(runs[number % 2], f"loss/{number}")
        got = sorted((point.step, point.value, point.timestamp) for point in history)
        assert got == [(step, step / 7, 1_700_000_000_000 + step) for step in range(POINTS)]
    own = json.loads((server.state / passwords.FILE).read_text())
    login = {"user": "mlflow", "password": own["mlflow"], "dbname": "mlflow"}
    with psycopg.connect(host=str(server.state / "db"), **login) as connection:
        found = connection.execute("SELECT count(*) FROM metrics WHERE run_uuid = ANY(%s)", [runs])
        assert found.fetchall() == [(WRITERS * POINTS,)]
        [(superuser,)] = connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
        assert not superuser


@pytest.mark.slow
@installed
@pytest.mark.usefixtures("_logged_in", "quiet_mlflow")
def test_what_is_not_there_is_missing_and_not_denied(server: Server) -> None:
    from baton.lifecycle import verified
    from baton.lifecycle.registry import Registry
    from baton.lifecycle.tracing import target
    from baton.tracking.store import open_store

    store = open_store(params.MlflowTracking(kind="mlflow", uri=server.uri, experiment="missing"))
    assert Registry(store, "nothing").alias("champion") is None
    model = f"models:/m-{'0' * 32}"
    for uri in ("models:/nothing/1", "models:/nothing@champion", model):
        with pytest.raises(ModelError, match="there is no model"):
            verified.named(store, uri)
    for asked in (model, "0" * 32):
        with pytest.raises(DataError, match="nothing is known"):
            target.resolve(store, asked, Path.cwd())


@pytest.mark.slow
@installed
@pytest.mark.usefixtures("_logged_in", "quiet_mlflow")
def test_main_job_gate_retraining_and_trace_work_as_the_user_for_pipelines(
    tmp_path: Path, server: Server
) -> None:
    world = World(tmp_path, server, small)  # type: ignore[arg-type]  of the server it uses the address

    def settings(raw: dict[str, Any]) -> None:
        raw["retrain"]["drift"] = None
        raw["promotion"]["rule"] = {"kind": "non_inferiority", "margin": 0.5}

    world.developer.edit(settings)
    world.push("settings")
    assert "there is no champion" in world.job("--mode", "enabled")
    assert world.registry() == {"champion": "1", "versions": "1"}
    before = count_runs(world)
    assert "nothing to decide" in world.job("--mode", "enabled")
    assert count_runs(world) == before, "all from the run-cache: no phantom runs"

    world.git("pull", "--quiet")
    world.write("train", [*world.read("train"), *world.rest])
    world.push("more rows")
    world.job("--mode", "enabled")
    assert world.registry() == {"champion": "2", "versions": "2"}

    project = world.clone()
    project.dvc("pull", "--quiet")
    assert "delivered 0 journal entries" in told(project, "sync")
    chain = json.loads(told(project, "trace", "models:/story@champion", "--json"))
    assert chain["breaks"] == [] and "inbox/train.csv" in json.dumps(chain)
    assert "sha256" in told(project, "verify", "models:/story@champion")
    told(project, "promote", "--to", "1")
    assert world.registry()["champion"] == "1"


def told(project: Project, *words: str) -> str:
    done = project.run(*BATON, *words)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.mark.slow
@installed
def test_what_was_written_outlives_a_kill_and_nothing_of_the_server_does(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    server = Server(tmp_path / "project")
    request.addfinalizer(server.stop)
    server.start()
    assert server.process is not None
    password = server.login("client")["MLFLOW_TRACKING_PASSWORD"]
    body = json.dumps({"name": "kept"})
    assert (
        server.status("baton", password, method="POST", path=f"{API}experiments/create", body=body)[0] == 200
    )
    second = subprocess.run(
        [*BATON, "server", "--port", str(server.port)], cwd=server.folder, capture_output=True, check=False
    )
    assert second.returncode == 1 and b"another server runs in this project" in second.stderr
    left = server.descendants()
    server.process.send_signal(signal.SIGKILL)
    server.process.communicate()
    psutil.wait_procs(left, timeout=60)
    assert not [process for process in left if process.is_running() and process.status() != "zombie"]
    server.start()
    status, found = server.status(
        "baton", password, path=f"{API}experiments/get-by-name?experiment_name=kept"
    )
    assert status == 200 and b'"kept"' in found
    left = server.descendants()
    assert "the server has ended" in server.stop()
    assert (server.process.returncode, server.rest) == (0, "the server has ended\n")
    assert not [process for process in left if process.is_running() and process.status() != "zombie"]
    assert "no server runs" in server.stop()
    assert "error" not in (server.state / "postgres.log").read_text().lower()
