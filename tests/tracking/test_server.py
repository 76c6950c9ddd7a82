"""A real `mlflow server` on SQLite that is down, dies, or hangs: a stage loses no time and no point."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from baton import tracking
from baton.processes import patience
from baton.tracking import journal, recorder, run
from tests import tiny
from tests.tracking.reading import REASONS, history, journals, settle, tree
from tests.tracking.test_processes import start

pytestmark = pytest.mark.alone
STEPS = range(1, 301)
MOST_SECONDS = 1.0  # spent in tracking by the stage itself


class Server:
    """`mlflow server` with one worker, on its own port."""

    def __init__(self, folder: Path, database: Path) -> None:
        (folder / "server.db").write_bytes(database.read_bytes())
        self.folder, self.process = folder, None
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [
            sys.executable,
            "-m",
            "mlflow",
            "server",
            "--host",
            "127.0.0.1",
            "--port",
            str(self.port),
            "--workers",
            "1",
        ]
        command += [
            "--backend-store-uri",
            f"sqlite:///{self.folder / 'server.db'}",
            "--artifacts-destination",
            str(self.folder / "files"),
        ]
        environment = {
            **os.environ,
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "PYTHONWARNINGS": "ignore",
        }
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(
            command, env=environment, cwd=self.folder, start_new_session=True, **quiet
        )  # type: ignore[call-overload]
        deadline = time.monotonic() + 60
        while not self.answers():
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.05)

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=1) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def signal(self, number: signal.Signals) -> None:
        if self.process:
            os.killpg(self.process.pid, number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        if self.process:
            self.process.wait()
        self.process = None


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, database: Path) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server"), database)
    yield server
    server.kill()


@pytest.fixture
def server(
    shared: Server, project: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Server:
    """The server as the project's store, with one experiment per test.

    A request without an answer ends after a second.
    """
    params = (project / "params.yaml").read_text().replace("uri: null", f"uri: {shared.uri}")
    (project / "params.yaml").write_text(params.replace("experiment: ", f"experiment: {request.node.name}-"))
    monkeypatch.setenv("BATON_REPRO_ID", request.node.name)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr(recorder, "WAIT_SECONDS", 1.5)
    return shared


def train(server: Server, teacher: Path, happens: dict[int, signal.Signals | None]) -> tuple[int, int]:
    """Run a stage that records everything, and call the given actions on the server after some steps.

    Return when it began and ended, in ms since 1970.
    """
    tiny.write_clean(Path("data/clean"))
    start = journal.now()
    with tracking.stage("finetune", REASONS) as run:
        run.dataset("val", Path("data/clean/val.parquet"), "validation")
        for step in STEPS:
            run.metrics({"teacher/loss": 1 / step, "teacher/rate": float(step)}, step)
            number = happens.get(step)
            if number:
                server.signal(number)
            time.sleep(0.002)
        run.model("teacher", teacher, ["wheat exports rose"])
        run.final({"teacher/val_accuracy": 0.9})
    return start, journal.now()


def check(server: Server, times: tuple[int, int], reports: list[tracking.SyncReport]) -> None:
    """Check that every point is there once, and params, model, status and times."""
    assert journals() == []
    assert reports[-1].waiting == reports[-1].refused == ()
    from mlflow.tracking import MlflowClient

    client = MlflowClient(server.uri)
    [(pipeline, [child])] = [
        item for item in tree(uri=server.uri).values() if times[0] - 1 <= item[0].info.start_time <= times[1]
    ]
    run = child.info.run_id
    assert history(run, "teacher/loss", server.uri) == [(step, 1 / step) for step in STEPS]
    assert history(run, "teacher/rate", server.uri) == [(step, float(step)) for step in STEPS]
    assert history(run, "teacher/val_accuracy", server.uri) == [(STEPS[-1], 0.9)]
    stamps = [point.timestamp for point in client.get_metric_history(run, "teacher/loss")]
    assert times[0] <= min(stamps) <= max(stamps) <= times[1]
    machine = history(run, "system/cpu_utilization_percentage", server.uri)
    assert [step for step, _ in machine] == list(range(len(machine)))
    assert child.data.params["finetune.learning_rate"] == "0.0001"
    assert (pipeline.info.status, child.info.status) == ("FINISHED", "FINISHED")
    assert times[0] <= child.info.start_time <= child.info.end_time <= times[1]
    [output] = client.get_run(run).outputs.model_outputs
    model = client.get_logged_model(output.model_id)
    assert (model.status, [metric.value for metric in model.metrics]) == ("READY", [0.9])
    assert "MLmodel" in {Path(item.path).name for item in client.list_logged_model_artifacts(model.model_id)}
    assert float(child.data.tags["baton.tracking_seconds"]) <= MOST_SECONDS


def sync(server: Server) -> list[tracking.SyncReport]:
    settle()
    return [tracking.sync(), tracking.sync()]


def ensure(server: Server) -> None:
    """Start the server, unless a test before has."""
    if not server.answers():
        server.start()


@pytest.mark.slow
def test_a_server_that_is_not_there(
    server: Server, teacher: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not server.answers(), "this test comes first"
    times = train(server, teacher, {})
    output = capsys.readouterr().out
    assert output.count("the MLflow store failed") == 1
    assert "entries wait in the journal" in output
    settle()
    with pytest.raises(Exception, match="journals wait"):
        tracking.sync()
    server.start()
    reports = sync(server)
    assert reports[0].points > 2 * len(STEPS)
    assert reports[1] == tracking.SyncReport()
    check(server, times, reports)


def test_a_server_that_hangs(server: Server, teacher: Path) -> None:
    ensure(server)
    times = train(server, teacher, {100: signal.SIGSTOP})
    settle()
    waiting = journals()
    server.signal(signal.SIGCONT)
    assert waiting
    check(server, times, sync(server))


def test_a_server_that_hangs_for_a_while(server: Server, teacher: Path) -> None:
    ensure(server)
    times = train(server, teacher, {1: signal.SIGSTOP, 290: signal.SIGCONT})
    check(server, times, sync(server))


def test_a_server_that_dies_and_comes_back(server: Server, teacher: Path) -> None:
    times = train(server, teacher, {150: signal.SIGKILL})
    settle()
    assert journals()
    server.kill()
    server.start()
    check(server, times, sync(server))


def test_a_socket_that_never_answers(server: Server, teacher: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        params = Path("params.yaml")
        known = params.read_text()
        params.write_text(known.replace(server.uri, f"http://127.0.0.1:{silent.getsockname()[1]}"))
        start = time.monotonic()
        train(server, teacher, {})
        assert time.monotonic() - start < 10
        settle()
        [name] = journals()
        seconds = [entry["seconds"] for entry, _ in journal.left()[0].entries() if entry["kind"] == "close"]
        assert seconds[0] <= MOST_SECONDS
        with pytest.raises(Exception, match="journals wait"):
            tracking.sync()
        assert journals() == [name]


@pytest.mark.parametrize("after", [0.0, 4.0])
def test_a_stage_that_is_told_to_stop_is_gone_at_once_though_the_server_hangs(
    project: Path, after: float
) -> None:
    """While the thread still imports mlflow, and while it waits for an answer."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        params = (project / "params.yaml").read_text()
        (project / "params.yaml").write_text(
            params.replace("uri: null", f"uri: http://127.0.0.1:{silent.getsockname()[1]}")
        )
        process = start(project, "finetune", "wait")
        assert process.stdout is not None
        assert any(line == "READY\n" for line in process.stdout)
        time.sleep(after)
        told = time.monotonic()
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=30)
        assert (process.returncode, time.monotonic() - told < 2) == (143, True), output
        assert "entries wait in the journal" in output
    (project / "params.yaml").write_text(params)
    assert [entry["status"] for entry, _ in journal.left()[0].entries() if entry["kind"] == "close"] == [
        "KILLED"
    ]


@pytest.mark.slow
def test_a_job_waits_for_a_server_that_comes_back(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(patience.VARIABLE, "30")
    client = MlflowClient(server.uri)
    server.kill()
    with pytest.raises(MlflowException):  # a command does not
        client.search_experiments()
    back = threading.Timer(2, server.start)
    back.start()
    with tracking.patient():
        assert client.search_experiments()
    back.join()
    assert os.environ[run.RETRIES] == "0", "as before"


@pytest.mark.parametrize(("seconds", "retries"), [(0, 1), (4, 2), (244, 7), (300, 8), (1e9, 10)])
def test_retries_of_mlflow_add_up_to_the_seconds(seconds: float, retries: int) -> None:
    assert run._retries(seconds) == retries


@pytest.mark.slow
def test_with_the_settings_of_a_real_stage_a_hanging_server_costs_ten_seconds_at_the_end(
    server: Server, teacher: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_TIMEOUT")
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES")
    monkeypatch.setattr(recorder, "WAIT_SECONDS", 10.0)
    ensure(server)
    start = time.monotonic()
    times = train(server, teacher, {100: signal.SIGSTOP})
    assert 10 <= time.monotonic() - start < 15
    server.signal(signal.SIGCONT)
    check(server, times, sync(server))
