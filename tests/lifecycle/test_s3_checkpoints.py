"""Checkpoints of a killed retraining come back from S3: a real object store."""

import itertools
import shutil
import time
from pathlib import Path

import pytest

from baton.errors import OutputError
from baton.lifecycle.retraining.remote_checkpoints import ROOT, kept
from baton.train.checkpoint_folders import MANIFEST
from tests.gate import Gate
from tests.lifecycle.test_remote_checkpoints import FINGERPRINT, Checkout, entered, here, killed
from tests.object_store import BUCKET, READER, READING, ObjectStore, at_the_first_pause, needs_store

pytestmark = [pytest.mark.slow, *needs_store]


@pytest.fixture
def first(tmp_path: Path, object_store: ObjectStore, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    object_store.remove("")
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    monkeypatch.setenv("BATON_PATIENCE_SECONDS", "100")
    return entered(tmp_path / "first", f"s3://{BUCKET}/project", monkeypatch)


def second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    return entered(tmp_path / "second", f"s3://{BUCKET}/project", monkeypatch)


def stored(store: ObjectStore) -> list[str]:
    """Return the whole checkpoints on the remote."""
    names = store.names(f"project/{ROOT}/finetune/")
    return sorted(name.split("/")[-2] for name in names if name.endswith(f"/{MANIFEST}"))


def test_the_next_job_goes_on_from_the_newest_one_and_success_removes_it(
    first: Checkout, object_store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed(first, "001-000", 1.0)
    killed(first, "002-000", 2.0)
    assert stored(object_store) == ["002-000"], "only the newest"
    other = second(tmp_path, monkeypatch)
    with kept("finetune", 60):
        assert other.loaded() == 2.0
        shutil.rmtree(here() / FINGERPRINT)  # as a stage does that is done
    assert object_store.names("project/") == []


def test_a_store_that_goes_away_while_a_checkpoint_is_fetched(
    first: Checkout, gate: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed(first, "001-000", 1.0)
    other = second(tmp_path, monkeypatch)
    gate.shut_at(f"GET /{BUCKET}/project/{ROOT}/finetune/{FINGERPRINT}/teacher-0/".encode())
    at_the_first_pause(gate.open, monkeypatch)
    with kept("finetune", 60):
        assert other.loaded() == 1.0
    assert gate.shuts == 1


def test_one_that_goes_away_later_ends_no_training(
    first: Checkout, object_store: ObjectStore, gate: Gate, capsys: pytest.CaptureFixture[str]
) -> None:
    with kept("finetune", 0.0005):
        gate.shut()
        first.save("001-000", 1.0)
        said, tries = "", itertools.repeat(0.05, 2000)
        while "are not up to date" not in said:
            time.sleep(next(tries))
            said += capsys.readouterr().out
        gate.open()
        while not stored(object_store):
            time.sleep(next(tries))


def test_a_key_that_is_refused_is_one_error(first: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted-wrong")
    with pytest.raises(OutputError, match="refuses"), kept("finetune", 60):
        raise AssertionError("it began")


def test_a_key_that_may_only_read_is_named(
    first: Checkout, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", READER)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", READING)
    killed(first, "001-000", 1.0)
    said = capsys.readouterr().out
    assert "are not up to date" in said and "Access Denied" in said and READING not in said
