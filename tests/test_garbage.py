"""`baton gc` removes what dead processes left, and nothing that somebody uses or needs."""

import fcntl
import os
import time
from pathlib import Path

import pytest

from baton import storage
from baton.cli import garbage
from baton.tracking import journal, writer

OLD = time.time() - 100 * garbage.DAY


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.delenv("BATON_FETCHED", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def put(path: Path, age: float = 0.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * 1_000_000)
    os.utime(path, (time.time() - age, time.time() - age))
    return path


def collect(**options: object) -> int:
    return garbage.collect(**{"days": 30.0, "abandon": None, "dry": False} | options)  # type: ignore[arg-type]


def waiting(uri: str | None) -> journal.Journal:
    """Leave the journal of a stage whose process is gone, with a kept file."""
    own = writer.write(writer.new_id())
    own.append("open", store={"uri": uri, "experiment": "e"}, process=["gone:1", 0.0])
    put(own.journal.folder / "files/abc/model")
    own.close()
    return own.journal


def test_leftovers_go_and_all_else_stays(project: Path) -> None:
    kept = [
        put(project / "data/clean/train.parquet"),
        put(project / ".env.template"),
        put(project / ".baton/fetched/abc"),
        put(project / ".baton/checkpoints/finetune/young/teacher-0/1/state.json"),
        put(project / ".dvc/cache/.x.abcdefgh.baton"),
    ]
    gone = [
        put(project / "data/.clean.abcdefgh.baton/train.parquet"),
        put(project / ".params.yaml.abcdefgh.baton"),
        put(project / "models/.teacher.abcdefgh.baton-old/weights"),
        put(project / f".baton/fetched/.{'0' * 16}.abcdefgh/part"),
        put(project / ".baton/estimate/rehearsal-x/models/weights"),
        put(project / ".baton/checkpoints/finetune/old/teacher-0/1/state.json", 100 * garbage.DAY),
        put(project / ".baton/journal/.1.abcd/files/model"),
    ]
    (project / "models/teacher").mkdir()
    for folder in (project / ".baton/checkpoints/finetune/old").rglob("*"):
        os.utime(folder, (OLD, OLD))
    assert collect(dry=True) == 7_000_000 and all(path.exists() for path in (*gone, *kept))
    assert collect() == 7_000_000
    assert not [path for path in gone if path.exists()]
    assert all(path.exists() for path in kept)
    assert collect() == 0


def test_an_old_folder_without_its_successor_gets_its_name_back(project: Path) -> None:
    put(project / "models/.teacher.abcdefgh.baton-old/weights")
    put(project / "models/.teacher.abcdefgh.baton/weights")
    assert collect() == 1_000_000
    assert [path.name for path in (project / "models").iterdir()] == ["teacher"]


def test_what_a_living_process_uses_stays(project: Path) -> None:
    with storage.atomic_folder(project / "models/teacher") as folder:
        put(folder / "weights")
        running = put(project / ".baton/checkpoints/finetune/old/teacher-0/1/state.json", 100 * garbage.DAY)
        fetched = put(project / f".baton/fetched/.{'0' * 16}.abcdefgh/part")
        put(project / f".baton/fetched/locks/{'0' * 16}")
        busy = (running.parents[2], project / f".baton/fetched/locks/{'0' * 16}")
        handles = [os.open(path, os.O_RDONLY) for path in busy]
        for handle in handles:
            fcntl.flock(handle, fcntl.LOCK_EX)
        for path in running.parents[2].rglob("*"):
            os.utime(path, (OLD, OLD))
        assert collect() == 0 and running.exists() and fetched.exists()
        for handle in handles:
            os.close(handle)
    assert (project / "models/teacher/weights").exists()


def test_journals_of_a_dead_server_are_named_and_go_when_it_is_abandoned(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They kept gigabytes of models for ever, unseen."""
    dead, own = waiting("http://gone:5000"), waiting(None)
    collect()
    said = " ".join(capsys.readouterr().out.split())
    assert "1 journals wait for the MLflow store http://gone:5000 and keep 1.0 MB" in said
    assert "baton gc --abandon http://gone:5000" in said and dead.folder.exists()
    assert collect(abandon="http://gone:5000") > 1_000_000
    assert not dead.folder.exists() and own.folder.exists()


def test_the_journal_of_a_running_stage_is_not_abandoned(project: Path) -> None:
    running = writer.write(writer.new_id())
    running.append("open", store={"uri": None}, process=["gone:1", 0.0])
    assert collect(abandon="null") == 0 and running.journal.folder.exists()
    running.close()
