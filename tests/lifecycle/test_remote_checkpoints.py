"""Checkpoints of a killed retraining come back in another checkout: real DVC and remotes."""

import json
import os
import shutil
import time
from pathlib import Path

import pytest
import torch

from baton import storage
from baton.errors import OutputError
from baton.lifecycle.retraining.remote_checkpoints import ROOT, Shelf, kept
from baton.train.checkpoint import Checkpoints
from baton.train.checkpoint_folders import MANIFEST
from tests.workspace.test_remote import Http

ROOT_FOLDER = Path(__file__).parents[2]
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
        shutil.copy(ROOT_FOLDER / "params.yaml", folder)
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


def killed(own: Checkout, name: str = "", value: float = 0.0, minutes: float | None = 60) -> None:
    """Let a job end in the midst of the stage, after it saved a checkpoint."""
    with pytest.raises(Killed), kept("finetune", minutes):
        if name:
            own.save(name, value)
        raise Killed


def stored(remote: Path) -> list[str]:
    """Return the whole checkpoints on the remote."""
    return sorted(path.parent.name for path in (remote / ROOT / "finetune").rglob(MANIFEST))


def test_the_next_job_goes_on_from_the_newest_one_and_success_removes_it(
    first: Checkout, tmp_path: Path, remote: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed(first, "001-000", 1.0)
    killed(first, "002-000", 2.0)
    assert stored(remote) == ["002-000"], "only the newest"
    second = entered(tmp_path / "second", str(remote), monkeypatch)
    with kept("distill", 60):
        assert second.loaded() is None, "those of another stage are not fetched"
    with kept("finetune", 60):
        assert second.loaded() == 2.0
        assert (here() / FINGERPRINT / "fingerprint.json").is_file()
        shutil.rmtree(here() / FINGERPRINT)  # as a stage does that is done
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
    killed(first, "001-000", 1.0)
    there = remote / ROOT / "finetune" / RUN
    for name in ("002-000", ".hidden", "two words"):
        (there / name).mkdir()
        (there / name / "model.safetensors").write_bytes(b"half")
    for name in (".hidden", "two words"):
        (there / name / MANIFEST).write_text("{}")
    second = entered(tmp_path / "second", str(remote), monkeypatch)
    killed(second)
    assert second.loaded() == 1.0
    assert [path.name for path in (here() / RUN).iterdir()] == ["001-000"]


def test_changed_bytes_are_not_used(
    first: Checkout, tmp_path: Path, remote: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed(first, "001-000", 1.0)
    (remote / ROOT / "finetune" / RUN / "001-000/state.json").write_text(json.dumps({"step": "later"}))
    second = entered(tmp_path / "second", str(remote), monkeypatch)
    with kept("finetune", 60):
        assert second.loaded() is None


def test_what_is_here_is_not_replaced_by_something_older(first: Checkout, remote: Path) -> None:
    killed(first, "001-000", 1.0)
    first.save("002-000", 2.0)
    with kept("finetune", 60):
        assert first.loaded() == 2.0


def test_a_remote_that_takes_nothing_is_named_once_and_ends_no_training(
    first: Checkout, remote: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (remote / "baton").write_text("a file in the place of a folder")
    with kept("finetune", 0.0005):
        first.save("001-000", 1.0)
        time.sleep(0.5)
    assert capsys.readouterr().out.count("are not up to date") == 1


def test_a_web_server_keeps_none(first: Checkout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "web").mkdir()
    server = Http(tmp_path / "web")
    server.start()
    second = entered(tmp_path / "second", f"http://127.0.0.1:{server.port}", monkeypatch)
    killed(second, "001-000", 1.0)
    server.stop()
    assert second.loaded() == 1.0 and not list((tmp_path / "web").iterdir())


def test_they_can_be_left_out(first: Checkout, remote: Path) -> None:
    killed(first, "001-000", 1.0, None)
    assert not list(remote.iterdir())


def test_a_broken_one_gives_way_to_the_one_before(
    first: Checkout, tmp_path: Path, remote: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So does one whose manifest was cut off by a kill."""
    killed(first, "001-000", 1.0)
    there = remote / ROOT / "finetune" / RUN
    shutil.copytree(there / "001-000", there / "002-000")
    (there / "002-000" / MANIFEST).write_text("")
    second = entered(tmp_path / "second", str(remote), monkeypatch)
    killed(second)
    assert second.loaded() == 1.0 and stored(remote) == ["001-000"]


def test_a_fault_while_fetching_is_waited_for_and_never_costs_the_checkpoint(
    first: Checkout, tmp_path: Path, remote: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed(first, "009-000", 9.0)
    second = entered(tmp_path / "second", str(remote), monkeypatch)
    fetch, faults = Shelf._get, [OSError("connection reset")]

    def fails_once(self: Shelf, name: str, to: Path) -> None:
        if name.endswith("safetensors") and faults:
            raise faults.pop()
        fetch(self, name, to)

    monkeypatch.setenv("BATON_PATIENCE_SECONDS", "20")
    monkeypatch.setattr(Shelf, "_get", fails_once)
    killed(second)
    assert second.loaded() == 9.0
    faults += [OSError("connection reset")] * 9
    third = entered(tmp_path / "third", str(remote), monkeypatch)
    monkeypatch.setenv("BATON_PATIENCE_SECONDS", "0.1")
    with pytest.raises(OutputError, match="connection reset"):
        killed(third)
    assert stored(remote) == ["009-000"]


def test_other_jobs_keep_theirs(
    first: Checkout, tmp_path: Path, remote: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job that is behind with the same experiment, one with other params, and one that succeeds."""
    killed(first, "009-000", 9.0)
    other = remote / ROOT / "finetune" / "feedfeedfeedfeed"
    shutil.copytree(remote / ROOT / "finetune" / FINGERPRINT, other)
    (other / "fingerprint.json").write_text(json.dumps({"params finetune.epochs": "12345"}))
    second = entered(tmp_path / "second", str(remote), monkeypatch)
    with kept("finetune", 60):
        shutil.rmtree(here() / RUN)
        second.save("001-000", 1.0)
    assert stored(remote) == ["009-000", "009-000"], "it did not finish with it"
    assert not (here() / other.name / "teacher-0").exists()
    with kept("finetune", 60):
        shutil.rmtree(here() / FINGERPRINT)  # as a stage does that is done
    assert [path.name for path in (remote / ROOT / "finetune").iterdir()] == [other.name]
    for path in other.rglob("*"):
        os.utime(path, (0, 0))
    with kept("finetune", 60):
        pass
    assert not other.exists(), "nobody took it up again for a month"


def test_a_remote_whose_address_has_dots_is_found_again(
    first: Checkout, tmp_path: Path, remote: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = entered(tmp_path / "second", f"{remote}/../{remote.name}", monkeypatch)
    killed(second, "001-000", 1.0)
    killed(second, "002-000", 2.0)
    assert stored(remote) == ["002-000"]
