"""`baton retrain` with its DVC remote on S3: real git, MLflow server and object store."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gate import Gate
from tests.object_store import BUCKET, KEY, READER, READING, SECRET, ObjectStore, needs_store
from tests.test_retrain import BATON, World, count_runs, small
from tests.tracking.test_server import Server

pytestmark = [pytest.mark.slow, *needs_store]


@pytest.fixture
def tracking_server(tmp_path: Path, database: Path) -> Iterator[Server]:
    made = Server(tmp_path, database)
    made.start()
    yield made
    made.kill()


def opened_again(gate: Gate) -> None:
    """Open the gate some seconds after it shut by itself."""
    while not gate.shuts:
        time.sleep(0.1)
    time.sleep(15)  # longer than the client's own tries
    gate.open()


@pytest.mark.usefixtures("quiet_mlflow")
def test_jobs_in_fresh_clones(
    tmp_path: Path,
    tracking_server: Server,
    object_store: ObjectStore,
    gate: Gate,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(tmp_path, tracking_server, small)
    world.developer.dvc("remote", "modify", "storage", "url", f"s3://{BUCKET}/story")
    world.push("a remote on S3")

    for key, secret in ((KEY, "planted-wrong"), (READER, READING)):
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
        project = world.clone()
        ended = project.run(*BATON, "retrain", "--mode", "enabled")
        said = ended.stdout + ended.stderr
        assert ended.returncode == 1 and "retraining needs more than is set up here" in said
        assert "the DVC remote refuses" in said and secret not in said and "trying again" not in said
    assert count_runs(world) == 0, "nothing was trained"

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    gate.shut_at(f"PUT /{BUCKET}/story/files/md5/".encode(), count=3)
    opener = threading.Thread(target=opened_again, args=(gate,))
    opener.start()
    told = world.job("--mode", "enabled")
    opener.join()
    assert "there is no champion" in told and gate.shuts == 1 and SECRET not in told
    assert world.registry() == {"champion": "1", "versions": "1"}
    assert object_store.names("story/runs/") and not object_store.names("story/baton/checkpoints/")

    runs, gate.shuts = count_runs(world), 0
    gate.shut_at(f"GET /{BUCKET}/story/files/md5/".encode())
    opener = threading.Thread(target=opened_again, args=(gate,))
    opener.start()
    told = world.job("--mode", "enabled")
    opener.join()
    assert "Running stage 'finetune'" not in told and "Running stage 'distill'" not in told
    assert count_runs(world) == runs and gate.shuts == 1
