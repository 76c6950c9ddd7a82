"""Checkpoints of a killed retraining come back in another checkout: real DVC and remotes."""

import json
import time
from pathlib import Path

import pytest
import torch

from baton import storage
from baton.lifecycle.retraining.remote_checkpoints import ROOT, kept
from baton.train.checkpoint import Checkpoints
from baton.train.checkpoint_folders import MANIFEST
from tests.workspace.test_remote import Http

FINGERPRINT = "0123456789abcdef"
RUN = f"{FINGERPRINT}/teacher-0"


def here() -> Path:
    """Return the folder of the stage's checkpoints."""
    return storage.state("checkpoints") / "finetune"


class Checkout:
    """A DVC project without git, whose remote is a folder."""

    def __init__(self, folder: Path, address: str) -> None:
        (folder / ".dvc").mkdir(parents=True)
        text = (
            f"[core]\n    remote = storage\n    no_scm = True\n['remote \"storage\"']\n    url = {address}\n"
        )
        (folder / ".dvc/config").write_text(text)
        self.folder = folder

    def checkpoints(self) -> Checkpoints:
        return Checkpoints(here() / RUN, 0, {"run": "r"})

    def save(self, name: str, value: float) -> None:
        """Save a checkpoint as the stage does."""
        self.checkpoints().save(name, {"model": {"w": torch.full((3,), value)}}, {"step": name})
        storage.write_json(here() / FINGERPRINT / "fingerprint.json", {})

    def loaded(self) -> float | None:
        found = self.checkpoints().load()
        return float(found.parts["model"]["w"][0]) if found else None


class Killed(Exception):  # noqa: N818
    """What ends a job."""


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    (tmp_path / "remote").mkdir()
    return tmp_path / "remote"


@pytest.fixture
def first(tmp_path: Path, remote: Path, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    monkeypatch.setenv("BATON_PATIENCE_SECONDS", "1")
    return entered(tmp_path / "first", str(remote), monkeypatch)


def entered(folder: Path, address: str, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    made = Checkout(folder, address)
    monkeypatch.chdir(folder)
    return made


def killed(minutes: float | None = 60) -> None:
    """Let a job begin and end in the midst of the stage."""
    with pytest.raises(Killed), kept("finetune", minutes):
        raise Killed


def stored(remote: Path) -> list[str]:
    """Return the whole checkpoints on the remote."""
    return sorted(path.parent.name for path in (remote / ROOT / "finetune").rglob(MANIFEST))


def test_the_next_job_goes_on_from_the_newest_one_and_success_removes_it(
    first: Checkout, tmp_path: Path, remote: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first.save("001-000", 1.0)
    killed()
    first.save("002-000", 2.0)
    killed()
    assert stored(remote) == ["002-000"], "only the newest"
    second = entered(tmp_path / "second", str(remote), monkeypatch)
    with kept("distill", 60):
        assert second.loaded() is None, "those of another stage are not fetched"
    with kept("finetune", 60):
        assert second.loaded() == 2.0
        assert (here() / FINGERPRINT / "fingerprint.json").is_file()
    assert stored(remote) == []


def test_they_are_stored_while_the_stage_runs(first: Checkout, remote: Path) -> None:
    with kept("finetune", 0.001):
        first.save("001-000", 1.0)
        limit = time.monotonic() + 60
        while stored(remote) != ["001-000"] and time.monotonic() < limit:
            time.sleep(0.01)
        assert stored(remote) == ["001-000"]


def test_neither_parts_of_one_nor_strange_names_are_fetched(
    first: Checkout, tmp_path: Path, remote: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first.save("001-000", 1.0)
    killed()
    there = remote / ROOT / "finetune" / RUN
    for name in ("002-000", ".hidden", "two words"):
        (there / name).mkdir()
        (there / name / "model.safetensors").write_bytes(b"half")
    for name in (".hidden", "two words"):
        (there / name / MANIFEST).write_text("{}")
    second = entered(tmp_path / "second", str(remote), monkeypatch)
    killed()
    assert second.loaded() == 1.0
    assert [path.name for path in (here() / RUN).iterdir()] == ["001-000"]


def test_changed_bytes_are_not_used(
    first: Checkout, tmp_path: Path, remote: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first.save("001-000", 1.0)
    killed()
    (remote / ROOT / "finetune" / RUN / "001-000/state.json").write_text(json.dumps({"step": "later"}))
    second = entered(tmp_path / "second", str(remote), monkeypatch)
    with kept("finetune", 60):
        assert second.loaded() is None


def test_what_is_here_is_not_replaced_by_something_older(first: Checkout, remote: Path) -> None:
    first.save("001-000", 1.0)
    killed()
    first.save("002-000", 2.0)
    with kept("finetune", 60):
        assert first.loaded() == 2.0


def test_a_remote_that_takes_nothing_is_named_once_and_ends_no_training(
    first: Checkout, remote: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (remote / "baton").write_text("a file in the place of a folder")
    first.save("001-000", 1.0)
    with kept("finetune", 0.0005):
        time.sleep(0.5)
    assert capsys.readouterr().out.count("are not stored") == 1


def test_a_web_server_keeps_none(first: Checkout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "web").mkdir()
    server = Http(tmp_path / "web")
    server.start()
    second = entered(tmp_path / "second", f"http://127.0.0.1:{server.port}", monkeypatch)
    second.save("001-000", 1.0)
    killed()
    server.stop()
    assert second.loaded() == 1.0 and not list((tmp_path / "web").iterdir())


def test_they_can_be_left_out(first: Checkout, remote: Path) -> None:
    first.save("001-000", 1.0)
    killed(None)
    assert not list(remote.iterdir())
